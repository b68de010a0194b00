# The largest of correlated |t|, as mvtnorm has it (Genz-Bretz, error below 1e-6).
suppressPackageStartupMessages({ library(mvtnorm); library(jsonlite) })
set.seed(1)
dunnett <- function(size) { corr <- matrix(0.5, size, size); diag(corr) <- 1; corr }
uneven <- matrix(c(1, 0.3, 0.55, 0.3, 1, 0.62, 0.55, 0.62, 1), 3)
cases <- list(
  two = list(corr = dunnett(2), df = 12), three = list(corr = uneven, df = 30),
  opposed = list(corr = matrix(c(1, -0.4, -0.4, 1), 2), df = 8),
  five = list(corr = dunnett(5), df = 60)
)
largest <- lapply(cases, function(case) {
  size <- nrow(case$corr)
  algorithm <- GenzBretz(maxpts = 1e6, abseps = 1e-6)
  t <- c(0.8, 2, 2.4, 3.1)
  p <- sapply(t, function(one) 1 - pmvt(rep(-one, size), rep(one, size), df = case$df,
                                        corr = case$corr, algorithm = algorithm))
  list(corr = case$corr, df = case$df, t = t, p = as.numeric(p))
})
ps <- c(0.011, 0.4, 0.02, 0.013, 0.04)
whole <- list(
  source = "tests/golden/r/multiplicity.R", tolerance = 1e-4,
  versions = list(R = as.character(getRversion()), mvtnorm = as.character(packageVersion("mvtnorm"))),
  largest = largest, holm = list(p = ps, adjusted = p.adjust(ps, "holm"))
)
writeLines(toJSON(whole, digits = 12, auto_unbox = TRUE, pretty = TRUE), "tests/golden/multiplicity.json")
