"""`manage.py questionnaire list|export|import`: questionnaires to and from files."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from ema import audit, studies
from ema.management.named import named, study_named
from ema.management.options import whole
from ema.models import Questionnaire, QuestionnaireVersion, Study
from ema.questionnaires import carrying
from ema.questionnaires.files import Refused


class Command(BaseCommand):
    """Exit code 1: refused, a line per fault. Exit code 2: no such study, key, version or file."""

    help = (
        "List a study's questionnaires, write one to a file, or bring one in from a file as a "
        "draft. Example: manage.py questionnaire export demo hourly 1 --out hourly.json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        does = parser.add_subparsers(dest="does", required=True, metavar="list|export|import")
        listing = does.add_parser("list", help="every version of a study's questionnaires")
        listing.add_argument("study", metavar="STUDY", help="the study's short name")
        export = does.add_parser("export", help="write a version to standard output or a file")
        export.add_argument("study", metavar="STUDY", help="the study's short name")
        export.add_argument("key", metavar="KEY", help="the questionnaire's key")
        export.add_argument(
            "version",
            metavar="VERSION",
            nargs="?",
            type=whole(1, 32_767),
            help="default: the latest",
        )
        export.add_argument("--fhir", action="store_true", help="as a FHIR R4 Questionnaire")
        export.add_argument("--out", metavar="FILE", type=Path, help="write it there")
        bring = does.add_parser("import", help="make a draft of a file")
        bring.add_argument("study", metavar="STUDY", help="the study's short name")
        bring.add_argument("file", metavar="FILE", type=Path, help="- is standard input")
        bring.add_argument("--fhir", action="store_true", help="it is a FHIR R4 Questionnaire")
        bring.add_argument(
            "--renumber", action="store_true", help="give it the next free version number"
        )
        bring.add_argument(
            "--publish", action="store_true", help="publish it at once: it never changes again"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        try:
            {"list": self._list, "export": self._export, "import": self._import}[options["does"]](
                study, options
            )
        except (Refused, studies.NotReady) as error:
            raise CommandError(str(error), returncode=1) from error

    def _list(self, study: Study, options: dict[str, Any]) -> None:
        found = QuestionnaireVersion.objects.filter(questionnaire__study=study)
        for version in found.select_related("questionnaire"):
            state = f"published {version.sha256}" if version.published_at else "draft"
            count, languages = version.items.count(), " ".join(version.languages)
            self.stdout.write(f"{version}  {count} items  {languages}  {state}")
        if not found:
            self.stdout.write(f"Study {study} has no questionnaires yet.")

    def _export(self, study: Study, options: dict[str, Any]) -> None:
        form = named(Questionnaire, "questionnaire", study=study, key=options["key"])
        number = options["version"]
        versions = QuestionnaireVersion.objects.filter(questionnaire=form)
        if number is None:
            number = versions.order_by("-version").values_list("version", flat=True).first()
        version = named(QuestionnaireVersion, "version", questionnaire=form, version=number)
        text = carrying.exported(version, as_fhir=options["fhir"])
        if options["out"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            options["out"].write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{options['out']}: {error.strerror}.", returncode=2) from error
        self.stderr.write(f"{version} is in {options['out']}.")

    @transaction.atomic
    def _import(self, study: Study, options: dict[str, Any]) -> None:
        version = carrying.imported(
            study=study,
            content=self._content(options["file"]),
            as_fhir=options["fhir"],
            renumber=options["renumber"],
            actor=audit.COMMAND,
        )
        if options["publish"]:
            studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)
        state = f"published under {version.sha256}" if version.sha256 else "a draft"
        self.stdout.write(f"{version} is {state}, with {version.items.count()} items.")

    def _content(self, file: Path) -> bytes:
        if str(file) == "-":
            return sys.stdin.buffer.read()
        try:
            return file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}.", returncode=2) from error
