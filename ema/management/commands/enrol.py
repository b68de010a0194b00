"""`manage.py enrol STUDY SITE`: enrol a participant and print the one-time code."""

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import audit, enrolment, handover
from ema.consents import Agreed
from ema.management.named import named, study_named
from ema.models import Participant, Site


class Command(BaseCommand):
    """Exit code 2: no such study, site or participant. Exit code 1: refused."""

    help = (
        "Enrol a participant at a site and print the one-time code for the app, or with --again a "
        "new code for somebody enrolled. "
        "Example: manage.py enrol demo S1 --consent-version 2.0 --consented-on 2026-03-01"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("site", metavar="SITE", help="the site's code")
        parser.add_argument("--code", metavar="CODE", help="default: the next of the site")
        parser.add_argument("--again", action="store_true", help="only a new code for CODE")
        parser.add_argument("--zone", metavar="ZONE", help="IANA name; default: the site's")
        parser.add_argument("--language", default="en", metavar="LANGUAGE", help="of the app")
        parser.add_argument("--consent-version", metavar="VERSION", help="of the form")
        parser.add_argument(
            "--consented-on", type=date.fromisoformat, metavar="DATE", help="2026-03-01"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        site = named(Site, f"site of {study}", study=study, code=options["site"])
        if bool(options["consent_version"]) != bool(options["consented_on"]):
            raise CommandError("Give --consent-version and --consented-on together.", returncode=2)
        if options["again"] and not options["code"]:
            raise CommandError("--again needs --code: whose code is made anew?", returncode=2)
        now = timezone.now()
        try:
            person = (
                named(Participant, f"participant of {site}", site=site, code=options["code"])
                if options["again"]
                else self._enrolled(site, options, now)
            )
            code = enrolment.issue_code(participant=person, now=now, actor=audit.COMMAND)
        except enrolment.EnrolmentRefused as error:
            raise CommandError(str(error), returncode=1) from error
        self.stdout.write(f"{person.code} {handover.written(code)}")

    def _enrolled(self, site: Site, options: dict[str, Any], now: Any) -> Participant:
        version = options["consent_version"]
        return enrolment.enrol(
            site=site,
            code=options["code"] or enrolment.next_code(site),
            zone=options["zone"] or site.zone,
            language=options["language"],
            agreed=Agreed(version, options["consented_on"]) if version else None,
            now=now,
            actor=audit.COMMAND,
        )
