"""`manage.py analysis_plan list|show|import|lock|delete`: what is compared, decided before."""

import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics import plan as plans
from analytics.models import AnalysisPlan
from analytics.plan import STANDARD, Plan, PlanRefused
from analytics.plan_help import HELP
from analytics.plans import PlanLocked, UnknownPlan, delete, lock, notes_on, plan_named, save
from ema.audit import COMMAND
from ema.management.named import study_named
from ema.models import Study


class Command(BaseCommand):
    """Exit code 1: refused, a line per fault. Exit code 2: no such study, plan or file."""

    help = (
        "Draft and lock the analysis plans of a study: what predicts what, in which phases, "
        "adjusted and moderated by what. A locked plan never changes. Example: "
        "manage.py analysis_plan show demo > plan.json; edit it; "
        "manage.py analysis_plan import demo primary plan.json; "
        "manage.py analysis_plan lock demo primary"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        does = parser.add_subparsers(
            dest="does", required=True, metavar="list|show|import|lock|delete"
        )
        study: dict[str, Any] = {"metavar": "STUDY", "help": "the study's short name"}
        listing = does.add_parser("list", help="every version of a study's plans")
        listing.add_argument("study", **study)
        show = does.add_parser("show", help="print a plan as JSON")
        show.add_argument("study", **study)
        show.add_argument(
            "plan", metavar="KEY", nargs="?", help="KEY or KEY@VERSION; default: the standard one"
        )
        fields = "\n".join(f"  {name:<28} {asks}" for name, asks in HELP.items())
        bring = does.add_parser(
            "import",
            help="keep a plan as a draft",
            formatter_class=RawDescriptionHelpFormatter,
            epilog=f"fields of a plan, all of which may be left out but format:\n{fields}",
        )
        bring.add_argument("study", **study)
        bring.add_argument("plan", metavar="KEY", help="the plan's key, such as primary")
        bring.add_argument("file", metavar="FILE", type=Path, help="- is standard input")
        locking = does.add_parser("lock", help="lock a draft: it never changes again")
        locking.add_argument("study", **study)
        locking.add_argument("plan", metavar="KEY", help="the plan's key")
        locking.add_argument("--yes", action="store_true", help="do not ask whether it is meant")
        deleting = does.add_parser("delete", help="delete a draft; a locked version stays")
        deleting.add_argument("study", **study)
        deleting.add_argument("plan", metavar="KEY", help="the plan's key")
        deleting.add_argument("--yes", action="store_true", help="do not ask whether it is meant")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        steps = {
            "list": self._list,
            "show": self._show,
            "import": self._import,
            "lock": self._lock,
            "delete": self._delete,
        }
        try:
            steps[options["does"]](study, options)
        except UnknownPlan as error:
            raise CommandError(str(error), returncode=2) from error
        except (PlanRefused, PlanLocked) as error:
            raise CommandError(str(error), returncode=1) from error

    def _list(self, study: Study, options: dict[str, Any]) -> None:
        found = AnalysisPlan.objects.filter(study=study).select_related("study")
        for stored in found:
            locked = f"locked {stored.locked_at:%Y-%m-%d}" if stored.locked_at else "draft"
            self.stdout.write(f"{stored}  {locked}  {stored.sha256}  {stored.plan.title}".rstrip())
        if not found:
            self.stdout.write(f"Study {study} has no plans yet: the standard analysis is made.")

    def _show(self, study: Study, options: dict[str, Any]) -> None:
        plan: Plan = STANDARD
        if options["plan"]:
            stored = plan_named(study, options["plan"])
            plan = stored.plan
            self.stderr.write(
                "\n".join([f"{stored}, {stored.sha256}", *notes_on(stored, study)[1]])
            )
        self.stdout.write(json.dumps(plan.written_out(), indent=2, ensure_ascii=False))

    def _import(self, study: Study, options: dict[str, Any]) -> None:
        plan = plans.read_text(_text_of(options["file"]))
        stored = save(
            study=study, key=options["plan"], plan=plan, actor=COMMAND, now=timezone.now()
        )
        self.stdout.write(f"{stored} is a draft under {stored.sha256}.")

    def _lock(self, study: Study, options: dict[str, Any]) -> None:
        stored = plan_named(study, options["plan"])
        if not options["yes"] and stored.locked_at is None:
            typed = input(f"{stored} of study {study} will never change again. Lock it? [y/N] ")
            if typed.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was locked.", returncode=1)
        locked = lock(stored=stored, actor=COMMAND, now=timezone.now())
        self.stdout.write(f"{locked} is locked under {locked.sha256}.")
        self.stdout.write("\n".join(notes_on(locked, study)[1]))

    def _delete(self, study: Study, options: dict[str, Any]) -> None:
        stored = plan_named(study, options["plan"])
        if not options["yes"] and stored.locked_at is None:
            typed = input(f"Delete the draft {stored} of study {study}? [y/N] ")
            if typed.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was deleted.", returncode=1)
        delete(stored=stored, actor=COMMAND)
        self.stdout.write(f"The draft {stored} is deleted.")


def _text_of(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}.", returncode=2) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text.", returncode=1) from error
