# The companion of an outcome with few levels: cumulative logits, Laplace (ordinal::clmm).
#
# clmm stops where its optimiser does, and its inner Newton steps stop at a gradient of 1e-4. Both
# are made tight, so that numbers are compared and not optimisers.
suppressPackageStartupMessages({ library(ordinal); library(jsonlite) })
prepared <- function(d) {
  d$id <- factor(d$id)
  d$arm <- factor(d$arm, levels = c("control", sort(setdiff(unique(as.character(d$arm)), "control"))))
  means <- tapply(d$stress, d$id, mean)
  d$w <- (d$stress - means[d$id]) / 10
  d$b <- (as.numeric(means[d$id]) - mean(means)) / 10
  d$level <- factor(d$level, ordered = TRUE)
  d
}
case <- function(formula, data) {
  fit <- clmm(formula, data = prepared(data), Hess = TRUE,
              control = clmm.control(method = "nlminb", innerCtrl = "noWarn", maxIter = 200, gradTol = 1e-9,
                                     rel.tol = 1e-13, x.tol = 1e-10, eval.max = 2000, iter.max = 1000))
  table <- coef(summary(fit))[names(fit$beta), , drop = FALSE]
  unit <- ifelse(grepl("^w|^b$", rownames(table)), 10, 1)
  sds <- attr(VarCorr(fit)$id, "stddev")
  list(terms = rownames(table), estimate = unname(table[, 1] / unit), se = unname(table[, 2] / unit),
       logLik = as.numeric(logLik(fit)), sd = unname(sds / c(1, 10)),
       correlation = attr(VarCorr(fit)$id, "correlation")[1, 2])
}
set.seed(11)
people <- lapply(1:45, function(i) {
  n <- sample(20:40, 1)
  stress <- pmin(100, pmax(0, round(rnorm(n, rnorm(1, 40, 8), 16))))
  slope <- (0.06 + rnorm(1, 0, 0.03)) * c(1, 0.7, 0.4)[i %% 3 + 1]
  latent <- rnorm(1, 0, 1.2) + slope * (stress - 40) + rlogis(n)
  data.frame(id = sprintf("L%02d", i), arm = c("control", "low", "high")[i %% 3 + 1], stress = stress,
             level = findInterval(latent, c(-1.5, 0.2, 1.4, 3)))
})
few <- do.call(rbind, people)
write.csv(few, "tests/golden/simulated_levels.csv", row.names = FALSE, quote = FALSE)
three <- transform(few, level = pmin(level, 2))
whole <- list(
  source = "tests/golden/r/ordinal.R on tests/golden/simulated_levels.csv",
  tolerance = 2e-3,
  versions = list(R = as.character(getRversion()), ordinal = as.character(packageVersion("ordinal"))),
  cases = list(
    five_levels = case(level ~ w * arm + b + (1 + w | id), few),
    three_levels = case(level ~ w * arm + b + (1 + w | id), three),
    one_group = case(level ~ w + b + (1 + w | id), few)
  )
)
writeLines(toJSON(whole, digits = 12, auto_unbox = TRUE, pretty = TRUE), "tests/golden/ordinal.json")
