"""manage.py power: how often a trial of this protocol would find a weaker coupling."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from analytics import power, power_report
from analytics.mixed_model import Method
from analytics.plan import STANDARD, Plan
from analytics.plans import UnknownPlan, plan_named
from analytics.power import ArmTest, Pair, Power, Question
from analytics.power_figure import curve
from analytics.power_study import NotSimulated, arms_of, left_out, stretches_of
from analytics.progress import progress
from analytics.simulation import USUAL
from analytics.virtual_trial import Protocol, Stretch, compliance_logit
from ema.management import options as kinds
from ema.management.named import study_named

USUAL_DAYS, USUAL_PROMPTS = 98, 4
MOST_ARMS, MOST_POINTS = 8, 25
NOTHING = (
    "None of the simulated trials could be analysed: it takes more participants, days or prompts."
)


@dataclass(frozen=True)
class Source:
    """What is simulated: a study's own protocol and plan, or the numbers given."""

    stretches: tuple[Stretch, ...]
    names: tuple[str, ...] = ()
    plan: Plan = STANDARD
    notes: tuple[str, ...] = ()


class Command(BaseCommand):
    """Exit code 1: no trial can be analysed, or the figure not be written. 2: wrong usage."""

    help = (
        "Simulate a trial many times and say how often its analysis finds a weaker coupling: "
        "power, false positives and the smallest detectable difference. Give a study, for its own "
        "phases, arms and plan, or --days and --prompts-per-day. Example: "
        "manage.py power --participants 118 --attenuation 0.2,0.4 --svg power.svg"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", nargs="?", help="a study's short name")
        parser.add_argument(
            "--participants",
            type=kinds.whole(4, 1_000_000),
            required=True,
            metavar="N",
            help="to recruit, in all arms together",
        )
        whole_days = {"type": kinds.whole(1, 2000), "metavar": "N"}
        parser.add_argument("--days", help=f"default: {USUAL_DAYS}", **whole_days)  # type: ignore[arg-type]
        parser.add_argument(
            "--prompts-per-day",
            type=kinds.whole(1, 48),
            metavar="N",
            help=f"default: {USUAL_PROMPTS}",
        )
        parser.add_argument("--plan", metavar="KEY", help="of the study: KEY or KEY@VERSION")
        parser.add_argument(
            "--arms",
            type=ratio,
            metavar="A:B",
            help="sizes of the arms, the reference first: 1:1, 57:61 or 1:1:1 (default: equal)",
        )
        parser.add_argument(
            "--doses",
            type=kinds.listed(kinds.share(0.0, 1.0)),
            metavar="LIST",
            help="share of the effect that each arm gets; default: equal steps from 0 to 1",
        )
        parser.add_argument(
            "--test",
            type=tested,
            default=ArmTest.TREND,
            metavar="TEST",
            help="trend (over doses), omnibus (all arms at once) or ARM:ARM, the coupling in the "
            "first minus that in the second; default: trend, which of two arms is their difference",
        )
        parser.add_argument(
            "--attenuation",
            type=kinds.listed(kinds.share(-1.0, 1.0)),
            default=[0.1, 0.2, 0.3, 0.4, 0.5],
            metavar="LIST",
            help="shares of the coupling that treatment takes away; default: 0.1,0.2,0.3,0.4,0.5",
        )
        parser.add_argument(
            "--arm-shift",
            type=kinds.number(-100.0, 100.0),
            default=0.0,
            metavar="POINTS",
            help="added to craving under treatment; default: 0",
        )
        parser.add_argument(
            "--compliance",
            type=kinds.share(0.05, 0.99),
            metavar="SHARE",
            help="of prompts answered by those who have not dropped out; default: about 0.77",
        )
        parser.add_argument(
            "--drop-out",
            type=kinds.share(0.0, 0.95),
            default=USUAL.dropped_out_by_day_98,
            metavar="SHARE",
            help="of participants, by day 98; default: 0.25",
        )
        parser.add_argument(
            "--trials",
            type=kinds.whole(20, 100_000),
            default=1000,
            metavar="N",
            help="to simulate; default: 1000, which leaves about 3 points of uncertainty at 50 %%",
        )
        parser.add_argument(
            "--seed",
            type=kinds.whole(0, 2**32),
            default=2026,
            metavar="N",
            help="the same seed gives the same answer; default: 2026",
        )
        parser.add_argument(
            "--alpha",
            type=kinds.number(0.0001, 0.5),
            default=0.05,
            metavar="P",
            help="level of the two-sided test; default: 0.05",
        )
        parser.add_argument(
            "--target",
            type=kinds.share(0.1, 0.99),
            default=0.8,
            metavar="SHARE",
            help="power wanted; default: 0.8",
        )
        parser.add_argument(
            "--method",
            choices=[str(each) for each in Method],
            help="standard error and degrees of freedom; default: the plan's, CR2",
        )
        parser.add_argument(
            "--processes", type=kinds.processes, default=1, metavar="N", help="default: 1"
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
        parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw the curve there")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unwritable(options["svg"])
        source = source_of(options)
        found = self._answer(question_of(options, source), options["processes"])
        if found.coupling is None:
            raise CommandError(NOTHING, returncode=1)
        if options["json"]:
            said = power_report.document(found, source.notes)
            self.stdout.write(json.dumps(said, indent=2, allow_nan=False, ensure_ascii=False))
        else:
            self.stdout.write(power_report.table(found, source.notes))
        if options["svg"]:
            write(options["svg"], curve(found))

    def _answer(self, question: Question, processes: int) -> Power:
        results = []
        try:
            with progress("Trials are simulated", question.trials) as step:
                for some in power.simulate(question, processes=processes):
                    results.append(some)
                    step.advance(len(some))
        except KeyboardInterrupt as error:
            raise CommandError("Stopped.", returncode=130) from error
        return power.answer(question, results)


def source_of(options: dict[str, Any]) -> Source:
    """The study's protocol and plan, or the numbers; CommandError where they do not go together."""
    numbers = options["days"], options["prompts_per_day"]
    if options["study"] is None:
        if options["plan"]:
            raise wrong("--plan belongs to a study: name the study, too.")
        days, prompts = numbers
        return Source((Stretch(days or USUAL_DAYS, prompts or USUAL_PROMPTS),))
    if any(numbers):
        raise wrong("A study has its own days and prompts: leave out --days and --prompts-per-day.")
    study = study_named(options["study"])
    try:
        plan = plan_named(study, options["plan"]).plan if options["plan"] else STANDARD
        found = stretches_of(study, plan)
        return Source(found, arms_of(study), plan, tuple(left_out(study, plan)))
    except (UnknownPlan, NotSimulated) as error:
        raise wrong(str(error)) from error


def question_of(options: dict[str, Any], source: Source) -> Question:
    """What is to be simulated; CommandError, in a sentence, for what cannot be."""
    arms = options["arms"] or (1,) * (len(source.names) or 2)
    if source.names and len(arms) != len(source.names):
        listed_arms = ", ".join(source.names)
        raise wrong(f"--arms names {len(arms)} sizes; the study's arms are {listed_arms}.")
    doses = doses_of(options["doses"], source, len(arms))
    if len(options["attenuation"]) > MOST_POINTS:
        raise wrong(f"--attenuation names more than {MOST_POINTS} values.")
    shape = USUAL._replace(dropped_out_by_day_98=options["drop_out"])
    if options["compliance"] is not None:
        logit = compliance_logit(options["compliance"], source.stretches)
        shape = shape._replace(compliance_logit=logit)
    counts = shared_out(options["participants"], arms)
    protocol = Protocol(counts, source.stretches, doses, (shape,), source.names)
    try:
        return Question(
            protocol,
            tuple(options["attenuation"]),
            arm_shift=options["arm_shift"],
            trials=options["trials"],
            seed=options["seed"],
            alpha=options["alpha"],
            target=options["target"],
            method=Method(options["method"] or source.plan.method),
            test=options["test"],
        )
    except ValueError as error:
        raise wrong(f"This cannot be simulated: {error}.") from error


def doses_of(given: list[float] | None, source: Source, arms: int) -> tuple[float, ...]:
    """Of each arm, the reference first; empty for equal steps."""
    planned = source.plan.doses
    if given is None and planned and source.names:
        if lacking := [name for name in source.names if name not in planned]:
            raise wrong(f"The plan has no dose for arm {lacking[0]}: name --doses.")
        own = [planned[name] - planned[source.names[0]] for name in source.names]
        largest = max(own, key=abs)
        return tuple(each / largest for each in own) if largest else ()
    if given is None:
        return ()
    if len(given) != arms:
        raise wrong(f"--doses names {len(given)} doses for {arms} arms.")
    if given[0] != 0 or not any(given):
        raise wrong("--doses starts with 0, the reference's, and has one that is larger.")
    return tuple(given)


def shared_out(participants: int, arms: tuple[int, ...]) -> tuple[int, ...]:
    """As many as the ratio gives each arm, nobody left over."""
    bounds = [round(participants * sum(arms[:n]) / sum(arms)) for n in range(len(arms) + 1)]
    return tuple(high - low for low, high in pairwise(bounds))


def ratio(text: str) -> tuple[int, ...]:
    """1:1 or 2:1:1, whole numbers."""
    parts = text.split(":")
    if not 2 <= len(parts) <= MOST_ARMS or not all(
        part.isascii() and part.isdecimal() and 1 <= int(part) <= 1_000_000 for part in parts
    ):
        raise ArgumentTypeError(
            f"{text!r} is no ratio: write 2 to {MOST_ARMS} whole numbers with colons, such as 1:1"
        )
    return tuple(map(int, parts))


def tested(text: str) -> ArmTest | Pair:
    """trend, omnibus, or two arms with a colon."""
    if text in set(ArmTest):
        return ArmTest(text)
    arms = [each.strip() for each in text.split(":")]
    if len(arms) != 2 or not all(arms):
        raise ArgumentTypeError(
            f"{text!r} is no test: write trend, omnibus, or two arms with a colon, such as "
            "'treated 2:control'"
        )
    return Pair(*arms)


def refuse_unwritable(file: Path | None) -> None:
    """Before the work, not after."""
    if file is None:
        return
    if not file.parent.is_dir():
        raise wrong(f"--svg: there is no directory {file.parent}.")
    if file.suffix.lower() != ".svg" or file.is_dir():
        raise wrong(f"--svg draws SVG: name a file that ends in .svg, not {file}.")


def write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}.", returncode=1) from error


def wrong(sentence: str) -> CommandError:
    return CommandError(sentence, returncode=2)
