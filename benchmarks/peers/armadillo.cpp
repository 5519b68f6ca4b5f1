// Armadillo's gmm_full and gmm_diag. Arguments and files are those of program.py.
#include <armadillo>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>

// A figure of /proc/self/status in bytes; -1 where there is none.
static long long status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind(name + ":", 0) == 0) return 1024 * std::stoll(line.substr(name.size() + 1));
  return -1;
}

template <class T>
static void read(const std::string& path, T& values) {
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(values.memptr()), sizeof(*values.memptr()) * values.n_elem);
  if (!file) throw std::runtime_error("cannot read " + path);
}

template <class T>
static void write(const std::string& path, const T& values) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.memptr()), sizeof(*values.memptr()) * values.n_elem);
}

template <class Real, class Model, class Covariances>
static void fit(const std::string& folder, arma::uword N, arma::uword D, Covariances covariances, int iterations) {
  const arma::uword K = covariances.n_elem / covariances.n_rows / (arma::is_Mat<Covariances>::value ? 1 : D);
  arma::Mat<Real> rows(D, N), means(D, K);
  arma::Row<Real> weights(K);
  read(folder + "/rows", rows);
  read(folder + "/means", means);
  read(folder + "/weights", weights);
  read(folder + "/covariances", covariances);
  Model model;
  model.set_params(means, covariances, weights);
  std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts again
  const long long before = status("VmRSS");
  const auto began = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  const bool fine = model.learn(rows, K, arma::maha_dist, arma::keep_existing, 0, iterations, Real(1e-10), false);
  const double cpu_seconds = double(std::clock() - cpu) / CLOCKS_PER_SEC;
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - began;
  if (!fine) throw std::runtime_error("learn() failed");
  const std::string rise = before < 0 ? "null" : std::to_string(status("VmHWM") - before);
  write(folder + "/means", model.means);
  write(folder + "/weights", model.hefts);
  if constexpr (arma::is_Mat<Covariances>::value)
    write(folder + "/covariances", model.dcovs);
  else
    write(folder + "/covariances", model.fcovs);
  std::printf("{\"wall\": %.9f, \"cpu\": %.9f, \"rise\": %s}\n", wall.count(), cpu_seconds, rise.c_str());
}

int main(int argc, char** argv) {
  if (argc == 2) {
    std::puts(arma::arma_version::as_string().c_str());
    return 0;
  }
  const std::string folder = argv[1], structure = argv[5], dtype = argv[6];
  const arma::uword N = std::stoull(argv[2]), D = std::stoull(argv[3]), K = std::stoull(argv[4]);
  const int iterations = std::stoi(argv[7]);
  const bool full = structure == "full", wide = dtype == "float64";
  if (full && wide) fit<double, arma::gmm_full>(folder, N, D, arma::cube(D, D, K), iterations);
  if (full && !wide) fit<float, arma::fgmm_full>(folder, N, D, arma::fcube(D, D, K), iterations);
  if (!full && wide) fit<double, arma::gmm_diag>(folder, N, D, arma::mat(D, K), iterations);
  if (!full && !wide) fit<float, arma::fgmm_diag>(folder, N, D, arma::fmat(D, K), iterations);
}
