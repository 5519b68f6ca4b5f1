# mclustBIC over models and numbers of components. Arguments: FILE (rows, comma-separated), K (1,2,...), MODELS (EII,...).
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages(library(mclust))
rows <- as.matrix(read.csv(arguments[1], header = FALSE))
numbers <- as.integer(strsplit(arguments[2], ",")[[1]])
models <- strsplit(arguments[3], ",")[[1]]
# As shipped, and to a change that is not its stopping rule's business.
for (control in list(emControl(), emControl(tol = c(1e-8, 1e-8), itmax = c(10000, 10000)))) {
  took <- system.time(found <- mclustBIC(rows, G = numbers, modelNames = models, control = control, verbose = FALSE))
  cells <- sapply(models, function(model) sapply(numbers, function(k) unclass(found)[as.character(k), model]))
  values <- ifelse(is.na(cells), "null", sprintf("%.9f", -cells))
  cat(sprintf('{"seconds": %.6f, "bic": [%s]}\n', took[["elapsed"]], paste(values, collapse = ", ")))
}
