# What every script of goldens shares. Run from the repository's root: make golden.
suppressPackageStartupMessages({
  library(lme4); library(lmerTest); library(pbkrtest); library(clubSandwich); library(jsonlite)
})
packages <- c("lme4", "lmerTest", "pbkrtest", "clubSandwich", "nlme", "numDeriv")
versions <- c(R = as.character(getRversion()),
              sapply(packages, function(name) as.character(packageVersion(name))))
data_root <- Sys.getenv("FOURBEAT_DATA", file.path("..", "shared", "data"))

rows_of <- function(folder, file = "canonical.csv") {
  path <- file.path(data_root, folder, file)
  if (!file.exists(path)) stop("no real data at ", path, ": set FOURBEAT_DATA")
  read.csv(path)
}

# x and y with both present; w the deviation from the own mean, b that mean about theirs.
centred <- function(id, x, y, ...) {
  d <- data.frame(id = factor(id), x = x, y = y, ...)
  d <- droplevels(d[complete.cases(d), ])
  means <- tapply(d$x, d$id, mean)
  d$w <- d$x - means[d$id]
  d$b <- as.numeric(means[d$id]) - mean(means)
  d
}

# lmer's optimiser stops about 1e-6 from the optimum; Newton steps take it there.
tight <- function(formula, data) {
  control <- lmerControl(optimizer = "bobyqa", calc.derivs = FALSE,
                         optCtrl = list(rhoend = 1e-9, maxfun = 1e5))
  fit <- lmer(formula, data, control = control)
  deviance_of <- update(fit, devFunOnly = TRUE)
  theta <- getME(fit, "theta")
  theta[abs(theta) < 1e-5] <- 0
  free <- abs(theta) > 0
  along <- function(part) { whole <- theta; whole[free] <- part; deviance_of(whole) }
  for (step in 1:4) {
    slope <- numDeriv::grad(along, theta[free])
    theta[free] <- theta[free] - solve(numDeriv::hessian(along, theta[free]), slope)
  }
  lmer(formula, data, start = unname(theta), control = lmerControl(optimizer = NULL, calc.derivs = FALSE))
}

answers <- function(formula, data, omnibus = NULL, kr = TRUE) {
  fit <- suppressMessages(tight(formula, data))
  table <- coef(summary(fit))
  out <- list(
    formula = paste(deparse(formula), collapse = " "), rows = nrow(data), people = nlevels(data$id),
    logLik = as.numeric(logLik(fit)), sigma = sigma(fit),
    random_vcov = unname(as.matrix(VarCorr(fit)$id[, ])),
    terms = rownames(table), estimate = unname(table[, "Estimate"]),
    se = unname(table[, "Std. Error"]), df_satterthwaite = unname(table[, "df"])
  )
  effects <- ranef(fit)$id
  out$blup <- list(id = rownames(effects), intercept = effects[, 1], slope = effects[, 2])
  if (kr) {
    adjusted <- vcovAdj(fit)
    L <- diag(nrow(table))
    out$kr_se <- unname(sqrt(diag(as.matrix(adjusted))))
    out$kr_df <- sapply(seq_len(nrow(L)), function(j) Lb_ddf(L[j, ], vcov(fit), adjusted))
    if (!is.null(omnibus)) {
      rows <- L[match(omnibus, rownames(table)), , drop = FALSE]
      test <- KRmodcomp(fit, rows)$test["Ftest", ]
      out$kr_omnibus <- list(terms = omnibus, F = test$stat, ndf = test$ndf, ddf = test$ddf,
                             p = test$p.value, scaling = test$F.scaling)
    }
  }
  for (type in c("CR0", "CR1", "CR2")) {
    robust <- vcovCR(fit, cluster = data$id, type = type)
    test <- coef_test(fit, vcov = robust, test = "Satterthwaite")
    out[[type]] <- list(se = test$SE, df = test$df_Satt)
    if (type == "CR2" && !is.null(omnibus)) {
      rows <- diag(nrow(table))[match(omnibus, rownames(table)), , drop = FALSE]
      wald <- Wald_test(fit, constraints = rows, vcov = robust, test = "HTZ")
      out$CR2$omnibus <- list(terms = omnibus, F = wald$Fstat, ndf = wald$df_num,
                              ddf = wald$df_denom, p = wald$p_val)
    }
  }
  out
}

keep <- function(answers, file, note) {
  whole <- list(source = note, versions = as.list(versions), cases = answers)
  writeLines(toJSON(whole, digits = 15, auto_unbox = TRUE, pretty = TRUE), file)
  cat(file, "\n")
}
