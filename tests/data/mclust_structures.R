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

source("tests/data/mclust_problems.R")

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
