# Residuals that remember: AR(1) within blocks (nlme), a random intercept per day (lme4).
source("tests/golden/r/common.R")
suppressPackageStartupMessages(library(nlme))
set.seed(99)
people <- lapply(1:40, function(i) {
  day <- rep(1:7, each = 5)[runif(35) < 0.8]
  n <- length(day)
  stress <- pmin(100, pmax(0, round(rnorm(n, rnorm(1, 40, 8), 16))))
  noise <- as.numeric(arima.sim(list(ar = 0.35), n)) * 8 + rnorm(7, 0, 5)[day]
  slope <- rnorm(1, 0.45, 0.15) * if (i %% 2) 1 else 0.7
  data.frame(id = sprintf("S%02d", i), arm = if (i %% 2) "control" else "high", day = day,
             stress = stress, craving = round(30 + rnorm(1, 0, 9) + slope * (stress - 40) + noise))
})
d <- do.call(rbind, people)
write.csv(d, "tests/golden/simulated_serial.csv", row.names = FALSE, quote = FALSE)
s <- centred(d$id, d$stress, d$craving, arm = d$arm, day = d$day)
s$block <- interaction(s$id, s$day, drop = TRUE)
ar <- function(form) {
  fit <- lme(y ~ w * arm + b, s, random = ~ 1 + w | id, correlation = corAR1(form = form), method = "REML",
             control = lmeControl(maxIter = 500, msMaxIter = 500, tolerance = 1e-12, msTol = 1e-14, niterEM = 50))
  table <- summary(fit)$tTable
  sds <- as.numeric(VarCorr(fit)[, "StdDev"])
  list(terms = rownames(table), estimate = unname(table[, 1]), se = unname(table[, 2]),
       logLik = as.numeric(logLik(fit)), sigma = fit$sigma, sd = sds[1:2],
       phi = unname(coef(fit$modelStruct$corStruct, unconstrained = FALSE)))
}
day <- tight(y ~ w * arm + b + (1 + w | id) + (1 | block), s)
table <- coef(summary(day))
cases <- list(
  ar1_person = ar(~ 1 | id), ar1_day = ar(~ 1 | id/day),
  day = list(terms = rownames(table), estimate = unname(table[, 1]), se = unname(table[, 2]),
             logLik = as.numeric(logLik(day)), sigma = sigma(day),
             sd = unname(attr(VarCorr(day)$id, "stddev")),
             sd_day = unname(attr(VarCorr(day)$block, "stddev")))
)
keep(cases, "tests/golden/serial.json", "tests/golden/r/serial.R on tests/golden/simulated_serial.csv")
