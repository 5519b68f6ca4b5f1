# Where mclust's EM ends, by model. Arguments: FILE (rows, comma-separated), MODELS (VVV:4,VEE:5,...). A line of JSON each.
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages(library(mclust))
rows <- as.matrix(read.csv(arguments[1], header = FALSE))
numbers <- function(values) sprintf("[%s]", paste(sprintf("%.17g", values), collapse = ", "))
control <- emControl(tol = c(1e-8, 1e-8), itmax = c(10000, 10000))
for (model in strsplit(strsplit(arguments[2], ",")[[1]], ":")) {
  fit <- Mclust(rows, G = as.integer(model[2]), modelNames = model[1], control = control, verbose = FALSE)
  found <- fit$parameters
  # Column by column: means (G, D) and covariances (G, D, D) in rows.
  cat(sprintf('{"weights": %s, "means": %s, "covariances": %s}\n',
              numbers(found$pro), numbers(found$mean), numbers(found$variance$sigma)))
}
