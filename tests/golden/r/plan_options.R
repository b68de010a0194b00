# Options of analysis plans: quadratic stress by arm, difference-in-differences, and a crossover
# in a Latin square (simulated here, nobody's).
source("tests/golden/r/common.R")
set.seed(4711)
orders <- list(ABC = c("A", "B", "C"), BCA = c("B", "C", "A"), CAB = c("C", "A", "B"))
people <- lapply(1:24, function(i) {
  sequence <- names(orders)[(i - 1) %% 3 + 1]
  base <- rnorm(1, 0.5, 0.12)
  level <- rnorm(1, 40, 8)
  do.call(rbind, lapply(if (i == 4) 1:2 else 1:3, function(period) {
    treatment <- orders[[sequence]][period]
    day <- (period - 1) * 4 + rep(1:4, each = 4)[runif(16) < 0.75]
    n <- length(day)
    stress <- pmin(100, pmax(0, round(rnorm(n, level, 16))))
    slope <- base + rnorm(1, 0, 0.04) - c(A = 0, B = 0.12, C = 0.25)[[treatment]]
    craving <- 45 + 2 * period + slope * (stress - 40) + rnorm(n, 0, 8)
    data.frame(id = sprintf("X%02d", i), arm = sequence, period = paste0("period-", period),
               treatment = treatment, day = day, stress = stress,
               craving = pmin(100, pmax(0, round(craving))))
  }))
})
d <- do.call(rbind, people)
write.csv(d, "tests/golden/simulated_crossover.csv", row.names = FALSE, quote = FALSE)
x <- centred(d$id, d$stress, d$craving, treatment = factor(d$treatment), period = factor(d$period),
             sequence = factor(d$arm))
before <- mapply(function(sequence, period) c("none", orders[[sequence]])[as.integer(period)],
                 as.character(x$sequence), sub("period-", "", x$period))
x$carryoverB <- as.numeric(before == "B")
x$carryoverC <- as.numeric(before == "C")

s <- read.csv("tests/golden/simulated.csv")
sim <- centred(s$id, s$stress, s$craving, arm = factor(s$arm), post = s$period)
cases <- list(
  quadratic = answers(y ~ (w + I(w^2)) * arm + b + (1 + w | id), sim, c("I(w^2):armhigh", "I(w^2):armlow")),
  baseline_phase = answers(y ~ w * arm * post + b + (1 + w | id), sim, c("w:armhigh:post", "w:armlow:post")),
  crossover = answers(y ~ w * treatment + period + sequence + b + (1 + w | id), x,
                      c("w:treatmentB", "w:treatmentC")),
  carryover = answers(y ~ w * treatment + w * carryoverB + w * carryoverC + period + sequence + b + (1 + w | id),
                      x, c("w:treatmentB", "w:treatmentC"))
)
for (name in names(cases)) cases[[name]]$blup <- NULL
keep(cases, "tests/golden/plan_options.json",
     "tests/golden/r/plan_options.R on tests/golden/simulated.csv and simulated_crossover.csv")
