# The floor companion: any craving by a logistic mixed model, Laplace (glmer, nAGQ = 1).
suppressPackageStartupMessages({ library(lme4); library(jsonlite) })
s <- read.csv("tests/golden/simulated.csv")
s$id <- factor(s$id)
s$arm <- factor(s$arm, levels = c("control", "high", "low"))
means <- tapply(s$stress, s$id, mean)
s$w <- s$stress - means[s$id]
s$b <- as.numeric(means[s$id]) - mean(means)
s$any <- as.integer(s$craving > 25)
case <- function(formula, data) {
  data$w <- data$w / 10; data$b <- data$b / 10
  fit <- glmer(formula, data, family = binomial, nAGQ = 1,
               control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(rhoend = 1e-8, maxfun = 1e5)))
  table <- coef(summary(fit))
  unit <- ifelse(grepl("w|b", rownames(table)), 10, 1)
  unit[grepl("^arm", rownames(table))] <- 1
  list(terms = rownames(table), estimate = unname(table[, 1] / unit), se = unname(table[, 2] / unit),
       logLik = as.numeric(logLik(fit)),
       sd = unname(attr(VarCorr(fit)$id, "stddev") / c(1, 10)),
       correlation = attr(VarCorr(fit)$id, "correlation")[1, 2],
       odds_blup = unname(ranef(fit)$id[, 2] / 10))
}
cases <- list(
  three_arms = case(any ~ w * arm + b + (1 + w | id), s),
  one_group = case(any ~ w + b + (1 + w | id), s)
)
set.seed(7)
people <- lapply(1:80, function(i) {
  n <- sample(20:60, 1)
  stress <- pmin(100, pmax(0, round(rnorm(n, rnorm(1, 40, 8), 16))))
  slope <- (0.06 + rnorm(1, 0, 0.02)) * if (i %% 2) 1 else 0.7
  latent <- rnorm(1, 0.2, 1.2) + slope * (stress - mean(stress))
  data.frame(id = sprintf("Q%02d", i), arm = if (i %% 2) "control" else "high", stress = stress,
             any = rbinom(n, 1, plogis(latent)))
})
large <- do.call(rbind, people)
write.csv(large, "tests/golden/simulated_any.csv", row.names = FALSE, quote = FALSE)
large$id <- factor(large$id)
means <- tapply(large$stress, large$id, mean)
large$w <- large$stress - means[large$id]
large$b <- as.numeric(means[large$id]) - mean(means)
cases$two_arms <- case(any ~ w * arm + b + (1 + w | id), large)
large$t <- ave(seq_along(large$id), large$id, FUN = seq_along)
large$v <- (large$t * 7) %% 11
large$z <- large$v - ave(large$v, large$id)
cases$with_a_trend <- case(any ~ w * arm + b + t + (1 + w | id), large)
cases$in_context <- case(any ~ w * arm + b + z * arm + w:z + w:z:arm + (1 + w | id), large)
whole <- list(
  source = "tests/golden/r/companion.R on tests/golden/simulated.csv and simulated_any.csv",
  tolerance = 2e-3,
  versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4"))),
  cases = cases
)
writeLines(toJSON(whole, digits = 12, auto_unbox = TRUE, pretty = TRUE), "tests/golden/companion.json")
