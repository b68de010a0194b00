# Load every table of this package with its types, and fit its coupling comparison again.
#
#   Rscript read.R              prints the comparison, where the package has arms, else the coupling
#   source("read.R")            from the package's directory: the list `tables`
#
# Tables need base R alone; the comparison needs lme4. Instants are POSIXct in UTC, NA is missing.

types <- list(
@TYPES@
)
reference_arm <- @REFERENCE@
guard <- "^'('*[-=+@\t\r\n＝＋－＠])"

read_table <- function(name) {
  kinds <- types[[name]]
  d <- read.csv(file.path("data", paste0(name, ".csv")), colClasses = "character", na.strings = "",
                encoding = "UTF-8", check.names = FALSE)
  for (column in names(kinds)) {
    x <- d[[column]]
    d[[column]] <- switch(kinds[[column]],
      string = sub(guard, "\\1", x),
      integer = as.integer(x),
      number = as.numeric(x),
      date = as.Date(x),
      datetime = as.POSIXct(sub("Z$", "", x), format = "%Y-%m-%dT%H:%M:%OS", tz = "UTC"))
  }
  d
}
tables <- lapply(setNames(names(types), names(types)), read_table)

# craving ~ stress_within * arm + stress_between + (1 + stress_within | participant), by REML, of
# random prompts answered in time and before the study was locked, with both in range.
comparison <- function(tables) {
  d <- subset(tables$prompts, status == "answered" & !is.na(stress) & !is.na(craving))
  d <- d[!grepl("after_lock", d$flags), ]
  people <- tables$participants
  arms <- "arm" %in% names(people)
  if (arms) {
    d <- merge(d, people[c("participant_id", "arm")])
    d <- d[!is.na(d$arm), ]
    d$arm <- relevel(factor(d$arm), ref = reference_arm)
  }
  means <- tapply(d$stress, d$participant_id, mean)
  d$stress_between <- as.numeric(means[d$participant_id]) - mean(means)
  d$stress_within <- d$stress - as.numeric(means[d$participant_id])
  fixed <- if (arms) "stress_within * arm + stress_between" else "stress_within + stress_between"
  formula <- as.formula(paste("craving ~", fixed, "+ (1 + stress_within | participant_id)"))
  control <- lme4::lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.02, rhoend = 1e-9))
  lme4::lmer(formula, d, control = control)
}

# Cluster-robust standard errors (CR2) with Satterthwaite's df, a participant being a cluster: Bell &
# McCaffrey 2002; Pustejovsky & Tipton 2018, as clubSandwich has them. Rows are turned into the span
# of the participant's X and Z: outside it nothing is corrected.
robust <- function(fit) {
  theta <- lme4::getME(fit, "theta")
  root <- matrix(c(theta[1], theta[2], 0, theta[3]), 2)
  X <- lme4::getME(fit, "X")
  y <- lme4::getME(fit, "y")
  beta <- lme4::fixef(fit)
  bread <- as.matrix(vcov(fit)) / sigma(fit)^2
  p <- length(beta)
  meat <- matrix(0, p, p)
  outer <- array(0, c(p, p, p))
  mean <- own <- numeric(p)
  for (rows in split(seq_along(y), lme4::getME(fit, "flist")[[1]])) {
    x <- X[rows, , drop = FALSE]
    z <- cbind(1, x[, "stress_within"])
    span <- t(qr.Q(qr(cbind(x, z), LAPACK = TRUE)))
    e <- span %*% (y[rows] - x %*% beta)
    x <- span %*% x
    z <- span %*% z
    n <- nrow(x)
    factor <- t(chol(diag(n) + z %*% root %*% t(root) %*% t(z)))
    scaled <- forwardsolve(factor, x)
    around <- t(factor) %*% factor
    inner <- around %*% (diag(n) - scaled %*% bread %*% t(scaled)) %*% around
    found <- eigen((inner + t(inner)) / 2, symmetric = TRUE)
    there <- found$values > 1e-9 * found$values[1]
    power <- ifelse(there, 1 / sqrt(ifelse(there, found$values, 1)), 0)
    adjusted <- factor %*% (found$vectors %*% (power * t(found$vectors))) %*% scaled
    h <- adjusted %*% bread
    v <- colSums((t(factor) %*% h)^2)
    a <- t(x) %*% h
    k <- colSums(a * (bread %*% a))
    meat <- meat + tcrossprod(t(adjusted) %*% e)
    mean <- mean + v - k
    own <- own + v * (v - 2 * k)
    for (m in seq_len(p)) outer[, , m] <- outer[, , m] + tcrossprod(a[, m])
  }
  pairs <- sapply(seq_len(p), function(m) {
    turned <- bread %*% outer[, , m]
    sum(turned * t(turned))
  })
  data.frame(estimate = beta, standard_error = sqrt(diag(bread %*% meat %*% bread)),
             df = mean^2 / (own + pairs), model_standard_error = sqrt(diag(as.matrix(vcov(fit)))))
}

if (sys.nframe() == 0) {
  for (name in names(tables)) message(name, ": ", nrow(tables[[name]]), " rows")
  if (requireNamespace("lme4", quietly = TRUE)) {
    write.csv(format(robust(comparison(tables)), digits = 15), quote = FALSE)
  } else {
    message("The comparison needs lme4: install.packages(\"lme4\")")
  }
}
