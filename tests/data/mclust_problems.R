# The rows and responsibilities that mclust_structures.R and mclust_prior.R give answers for.

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
