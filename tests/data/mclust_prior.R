# Makes mclust_prior.json: where mclust ends with its prior. Run from the repository root:
#
#     Rscript tests/data/mclust_prior.R
#
# For each data set and model: the parameters to which EM with priorControl() converges from given responsibilities.
# The models are those whose M-step in me() is the mode of the posterior. In EII it leaves out the prior's scale, and in
# EEI the determinant has the power of mstep() less the number of components.
suppressPackageStartupMessages({
  library(mclust)
  library(jsonlite)
})

source("tests/data/mclust_problems.R")

control <- emControl(eps = 0, tol = c(1e-15, 1e-15), itmax = c(20000, 100000))
answers <- lapply(problems, function(problem) {
  K <- ncol(problem$z)
  models <- c("VII", "VVI", "EEE", "VVV")
  found <- lapply(models, function(model) {
    fit <- suppressWarnings(me(problem$rows, model, problem$z, prior = priorControl(), control = control))
    list(
      pro = fit$parameters$pro,
      mean = t(fit$parameters$mean),
      sigma = lapply(seq_len(K), function(k) fit$parameters$variance$sigma[, , k])
    )
  })
  names(found) <- models
  found
})
answers$mclust <- as.character(packageVersion("mclust"))
write(toJSON(answers, digits = 17, auto_unbox = TRUE), "tests/data/mclust_prior.json")
