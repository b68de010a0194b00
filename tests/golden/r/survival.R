# Time to an event by arm, and Welch's t, with R's package survival. Run by make golden.
suppressPackageStartupMessages({ library(survival); library(jsonlite) })

# A made-up trial with whole days (many ties), early stops, three strata and arms that differ in time.
set.seed(20261121)
n <- 240
d <- data.frame(arm = rep(c("control", "low", "high"), length.out = n),
                stratum = sample(c("S1", "S2", "S3"), n, replace = TRUE))
rate <- c(control = 0.06, low = 0.045, high = 0.03)[d$arm] * c(S1 = 0.7, S2 = 1, S3 = 1.6)[d$stratum]
event_at <- ceiling(rweibull(n, ifelse(d$arm == "high", 1.4, 0.9), 1 / rate))
stop_at <- pmin(98, ceiling(rexp(n, 0.008)))
d$day <- pmin(event_at, stop_at)
d$event <- as.integer(event_at <= stop_at)
d$score <- round(rnorm(n, c(control = 25, low = 30, high = 35)[d$arm], c(control = 28, low = 26, high = 20)[d$arm]))

test <- function(fit) list(chisq = fit$chisq, df = length(fit$n) - 1)
cox_of <- function(formula, data) {
  fit <- coxph(formula, data, ties = "efron", model = TRUE, x = TRUE,
               control = coxph.control(eps = 1e-13, toler.chol = 1e-14, iter.max = 60))
  arms <- seq_along(coef(fit))
  list(log_ratio = unname(coef(fit)), covariance = unname(vcov(fit)),
       zph_terms = unname(cox.zph(fit, terms = FALSE)$table[arms, "chisq"]),
       zph_global = unname(tail(cox.zph(fit, terms = FALSE)$table[, "chisq"], 1)))
}
curve_of <- function(data) {
  fit <- survfit(Surv(day, event) ~ 1, data, conf.type = "log-log")
  seen <- fit$n.event > 0
  half <- summary(fit)$table
  list(time = fit$time[seen], share = fit$surv[seen], low = fit$lower[seen], high = fit$upper[seen],
       median = half[["median"]], median_low = half[["0.95LCL"]], median_high = half[["0.95UCL"]])
}
case_of <- function(d, arms) {
  d <- d[d$arm %in% arms, ]
  d$arm <- factor(d$arm, levels = arms)
  base <- d$score[d$arm == arms[1]]
  list(
    arms = arms, arm = as.character(d$arm), stratum = d$stratum, day = d$day, event = d$event, score = d$score,
    curves = lapply(arms, function(a) curve_of(d[d$arm == a, ])),
    logrank = test(survdiff(Surv(day, event) ~ arm, d)),
    logrank_stratified = test(survdiff(Surv(day, event) ~ arm + strata(stratum), d)),
    cox = cox_of(Surv(day, event) ~ arm, d),
    cox_stratified = cox_of(Surv(day, event) ~ arm + strata(stratum), d),
    welch = lapply(arms[-1], function(a) {
      w <- t.test(d$score[d$arm == a], base)
      list(t = unname(w$statistic), df = unname(w$parameter), p = w$p.value, interval = as.numeric(w$conf.int))
    })
  )
}
out <- list(
  source = paste("R", getRversion(), "survival", packageVersion("survival")), tolerance = 1e-6,
  cases = list(three_arms = case_of(d, c("control", "low", "high")),
               two_arms = case_of(d, c("control", "high")),
               few = case_of(d[1:24, ], c("control", "high")))
)
write_json(out, "tests/golden/survival.json", digits = 15, auto_unbox = TRUE, na = "null")
