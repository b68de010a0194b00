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
# random prompts answered in time with both in range.
comparison <- function(tables) {
  d <- subset(tables$prompts, status == "answered" & !is.na(stress) & !is.na(craving))
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

if (sys.nframe() == 0) {
  for (name in names(tables)) message(name, ": ", nrow(tables[[name]]), " rows")
  if (requireNamespace("lme4", quietly = TRUE)) {
    fitted <- coef(summary(comparison(tables)))[, c("Estimate", "Std. Error")]
    write.csv(format(fitted, digits = 15), quote = FALSE)
  } else {
    message("The comparison needs lme4: install.packages(\"lme4\")")
  }
}
