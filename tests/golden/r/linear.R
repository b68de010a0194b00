# The linear mixed model: estimates, Satterthwaite, Kenward-Roger, CR0, CR1, CR2, BLUPs.
source("tests/golden/r/common.R")

s <- read.csv("tests/golden/simulated.csv")
s$arm <- factor(s$arm, levels = c("control", "high", "low"))
sim <- centred(s$id, s$stress, s$craving, arm = s$arm, trait = s$trait, period = s$period,
               time = s$time, pain = s$pain, sequence = s$sequence, flat = s$flat)
means <- tapply(sim$pain, sim$id, mean)
sim$pw <- sim$pain - means[sim$id]
sim$m <- sim$trait - 50
sim$drug <- ifelse(sim$sequence == 1, sim$period, 1 - sim$period)
two <- droplevels(sim[sim$arm != "low", ])
two_means <- tapply(two$x, two$id, mean)
two$b <- as.numeric(two_means[two$id]) - mean(two_means)
slopes <- c("w:armhigh", "w:armlow")
simulated <- list(
  three_arms = answers(y ~ w * arm + b + (1 + w | id), sim, slopes),
  two_arms = answers(y ~ w * arm + b + (1 + w | id), two, "w:armhigh"),
  time = answers(y ~ w * arm + b + time + (1 + w | id), sim, slopes),
  context = answers(y ~ w * pw * arm + b + (1 + w | id), sim, c("w:pw:armhigh", "w:pw:armlow")),
  moderator = answers(y ~ w * m * arm + b + (1 + w | id), sim, c("w:m:armhigh", "w:m:armlow")),
  crossover = answers(y ~ w * drug + period + b + (1 + w | id), sim, "w:drug"),
  quadratic = answers(y ~ w + I(w^2) + b + (1 + w | id), sim),
  raw_slope = answers(y ~ x * arm + (1 + x | id), sim, c("x:armhigh", "x:armlow")),
  singular = answers(flat ~ w * arm + b + (1 + w | id), sim, slopes)
)
keep(simulated, "tests/golden/linear_simulated.json",
     "tests/golden/r/linear.R on tests/golden/simulated.csv (simulated by simulate.R)")

leuven <- rows_of("leuven2019_clinical")
primary <- with(leuven, centred(participant_id, anhedonia, negative_affect, arm = arm))
leuven <- leuven[order(leuven$participant_id, leuven$day, leuven$prompt_no), ]
before <- c(NA, head(leuven$negative_affect, -1))
first <- c(TRUE, diff(as.integer(factor(leuven$participant_id))) != 0 | diff(leuven$day) != 0)
before[first] <- NA
lagged <- with(leuven, centred(participant_id, before, negative_affect, arm = arm))
bringmann <- subset(rows_of("bringmann2013_mindfulness"), period == "post")
post <- with(bringmann, centred(participant_id, worried, sad, arm = factor(arm, c("waitlist", "mindfulness"))))
students <- with(rows_of("fried2021_students"), centred(participant_id, worry, irritable))
sleep <- with(rows_of("lme_classics", "sleepstudy.csv"), centred(Subject, Days, Reaction))
children <- with(rows_of("lme_classics", "orthodont.csv"), centred(Subject, age, distance, arm = Sex))
real <- list(
  leuven = answers(y ~ w * arm + b + (1 + w | id), primary, "w:armMDD"),
  leuven_lagged = answers(y ~ x * arm + (1 + x | id), lagged, "x:armMDD"),
  mindfulness = answers(y ~ w * arm + b + (1 + w | id), post, "w:armmindfulness"),
  students = answers(y ~ w + b + (1 + w | id), students),
  sleepstudy = answers(y ~ x + (1 + x | id), sleep),
  orthodont = answers(y ~ w * arm + (1 + w | id), children, "w:armMale")
)
for (name in names(real)) real[[name]]$blup <- NULL
keep(real, "tests/golden/linear_real.json",
     "tests/golden/r/linear.R on the data sets of FOURBEAT_DATA; estimates only")
