# Conditional residuals from rows: their lag-1 autocorrelation within days, means by range of stress,
# and the test of a curve (stress within, squared), with CR2 and Satterthwaite df.
source("tests/golden/r/common.R")
d <- read.csv("tests/golden/simulated_serial.csv")
s <- centred(d$id, d$stress, d$craving, arm = d$arm, day = d$day)
fit <- tight(y ~ w * arm + b + (1 + w | id), s)
e <- s$y - predict(fit)
n <- nrow(s)
later <- which(s$id[-1] == s$id[-n] & s$day[-1] == s$day[-n]) + 1
memory <- function(in_arm) {
  pairs <- later[in_arm[later]]
  list(lag1 = mean(e[pairs] * e[pairs - 1]) / mean(e[in_arm]^2), neighbours = length(pairs))
}
range_of <- findInterval(s$x, c(0, 10, 20, 30, 40, 50, 61, 71, 81, 91)) - 1
own <- aggregate(e, list(id = s$id, arm = s$arm, range = range_of), mean)
means <- aggregate(own$x, list(arm = own$arm, range = own$range), mean)
curved <- tight(y ~ w * arm + b + I(w^2) + (1 + w | id), s)
test <- coef_test(curved, vcov = vcovCR(curved, cluster = s$id, type = "CR2"), test = "Satterthwaite")
at <- match("I(w^2)", rownames(coef(summary(curved))))
cases <- list(serial = list(
  memory = list(all = memory(rep(TRUE, n)), control = memory(s$arm == "control"), high = memory(s$arm == "high")),
  means = list(arm = as.character(means$arm), range = means$range, mean = means$x),
  slopes = sort(ranef(fit)$id[, 2]),
  curve = list(estimate = unname(fixef(curved)[at]), se = test$SE[at], df = test$df_Satt[at], p = test$p_Satt[at])
))
keep(cases, "tests/golden/diagnostics.json", "tests/golden/r/diagnostics.R on tests/golden/simulated_serial.csv")
