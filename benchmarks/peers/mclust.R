# mclust's em() for VVV and VVI. Arguments and files are those of program.py.
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages(library(mclust))
if (length(arguments) == 1) {
  cat(as.character(packageVersion("mclust")), "\n")
  quit()
}
path <- function(name) file.path(arguments[1], name)
N <- as.integer(arguments[2]); D <- as.integer(arguments[3]); K <- as.integer(arguments[4])
full <- arguments[5] == "full"
values <- function(name, n) readBin(path(name), "double", n)
rows <- matrix(values("rows", N * D), N, D, byrow = TRUE)
covariances <- values("covariances", if (full) D * D * K else D * K)
if (full) {
  sigma <- array(covariances, c(D, D, K))
  variance <- list(modelName = "VVV", d = D, G = K, sigma = sigma, cholsigma = array(apply(sigma, 3, chol), c(D, D, K)))
} else {
  sigma <- matrix(covariances, D, K)
  scale <- exp(colMeans(log(sigma)))
  variance <- list(modelName = "VVI", d = D, G = K, scale = scale, shape = sweep(sigma, 2, scale, "/"))
}
parameters <- list(pro = values("weights", K), mean = matrix(values("means", D * K), D, K), variance = variance)
status <- function(name) {
  if (!file.exists("/proc/self/status")) return(NA)
  line <- grep(paste0("^", name, ":"), readLines("/proc/self/status"), value = TRUE)
  1024 * as.numeric(gsub("[^0-9]", "", line))
}
invisible(gc())
if (file.exists("/proc/self/clear_refs")) cat("5", file = "/proc/self/clear_refs")
before <- status("VmRSS")
control <- emControl(tol = 0, itmax = as.integer(arguments[7]))
took <- system.time(
  fitted <- em(rows, if (full) "VVV" else "VVI", parameters, control = control, warn = FALSE), gcFirst = FALSE
)
rise <- status("VmHWM") - before
found <- fitted$parameters
write <- function(values, name) writeBin(as.double(values), path(name))
write(found$pro, "weights")
write(found$mean, "means")
write(if (full) found$variance$sigma else apply(found$variance$sigma, 3, diag), "covariances")
cat(sprintf('{"wall": %.9f, "cpu": %.9f, "rise": %s}\n', took[["elapsed"]], took[["user.self"]] + took[["sys.self"]],
            if (is.na(rise)) "null" else sprintf("%.0f", rise)))
