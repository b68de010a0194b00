# Simulated data with every awkward thing a small trial has; writes tests/golden/simulated.csv.
# 36 people in three arms: one row, two rows, constant stress, unequal sizes. Simulated, nobody's.
set.seed(20260)
arms <- c("control", "low", "high")
people <- lapply(1:36, function(i) {
  n <- if (i == 1) 1 else if (i %in% 2:4) 2 else sample(5:18, 1)
  arm <- arms[(i - 1) %% 3 + 1]
  trait <- round(rnorm(1, 50, 12))
  pain_level <- rnorm(1, 30, 10)
  stress <- if (i == 5) rep(40, n) else pmin(100, pmax(0, round(rnorm(n, rnorm(1, 40, 10), 18))))
  pain <- pmin(100, pmax(0, round(rnorm(n, pain_level, 14))))
  time <- sort(sample(0:60, n))
  period <- as.integer(seq_len(n) > n / 2)
  slope <- rnorm(1, 0.45, 0.2) * c(control = 1, low = 0.8, high = 0.5)[[arm]]
  craving <- 25 + rnorm(1, 0, 9) + slope * (stress - 40) + 0.004 * (stress - 40) * (pain - 30) -
    0.1 * time + rnorm(n, 0, 9)
  flat <- 25 + rnorm(1, 0, 9) + 0.4 * (stress - mean(stress)) + rnorm(n, 0, 9)
  data.frame(
    id = sprintf("P%02d", i), arm = arm, sequence = i %% 2, trait = trait, period = period,
    time = time, stress = stress, pain = pain, craving = round(craving),
    flat = round(flat), any = as.integer(craving > 25)
  )
})
write.csv(do.call(rbind, people), "tests/golden/simulated.csv", row.names = FALSE, quote = FALSE)
