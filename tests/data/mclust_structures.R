# Makes mclust_structures.json, what mclust computes in its 14 covariance structures. Run from the repository root:
#
#     Rscript tests/data/mclust_structures.R
#
# For each data set and structure: one M-step of given responsibilities, and the log-likelihood where EM ends from there.
suppressPackageStartupMessages({
  library(mclust)
  library(jsonlite)
})

MODELS <- c("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV")

# Soft responsibilities that any language can write down again: row i of K, of class c.
responsibilities <- function(class, K) {
  raw <- outer(seq_along(class), seq_len(K), function(i, k) 1.5 + 8 * (class[i] == k) + sin(i * k))
  raw / rowSums(raw)
}

values <- function(name, columns) as.matrix(read.csv(file.path("tests/data", paste0(name, ".csv")))[, columns])

iris_rows <- values("iris", 1:4)
faithful_rows <- values("faithful", 1:2)
problems <- list(
  iris = list(rows = iris_rows, z = responsibilities(rep(1:3, each = 50), 3)),
  faithful = list(rows = faithful_rows, z = responsibilities(1 + (faithful_rows[, 1] > 3), 2))
)

# The second entries are those of the iteration inside of an M-step.
control <- emControl(eps = 0, tol = c(1e-15, 1e-15), itmax = c(20000, 100000))
answers <- lapply(problems, function(problem) {
  K <- ncol(problem$z)
  found <- lapply(MODELS, function(model) {
    one <- suppressWarnings(mstep(problem$rows, model, problem$z, control = control))
    all <- suppressWarnings(me(problem$rows, model, problem$z, control = control))
    list(
      pro = one$parameters$pro,
      mean = t(one$parameters$mean),
      sigma = lapply(seq_len(K), function(k) one$parameters$variance$sigma[, , k]),
      loglik = all$loglik,
      parameters = nMclustParams(model, ncol(problem$rows), K)
    )
  })
  names(found) <- MODELS
  found
})
answers$mclust <- as.character(packageVersion("mclust"))
write(toJSON(answers, digits = 17, auto_unbox = TRUE), "tests/data/mclust_structures.json")
