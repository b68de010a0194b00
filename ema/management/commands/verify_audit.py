"""`manage.py verify_audit`: show that the audit trail is what it was when it was sealed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit_checkpoints, audit_verification
from ema.audit_verification import Finding, Verified
from ema.management.named import study_named
from ema.models import Study

TELL_EVERY = 100_000
MOST_NAMED = 1000


class Command(BaseCommand):
    """Exit code 1: something does not fit, or rows are there and nothing is sealed."""

    help = (
        "Recompute the checkpoints of the audit trail and name every event or row change that was "
        "altered, removed or added since it was sealed. Keep the head (--head) outside of this "
        "machine from time to time, and give it back with --expect: then not even whoever owns the "
        "database can make the chain anew unnoticed. Example: manage.py verify_audit --study demo"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--study", help="name rows of this study only; all are verified")
        parser.add_argument("--expect", metavar="HEAD", help="a head that was published earlier")
        parser.add_argument("--seal", action="store_true", help="first seal what is not sealed yet")
        parser.add_argument(
            "--head", action="store_true", help="only print the newest checkpoint's digest"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"]) if options["study"] else None
        if options["seal"]:
            audit_checkpoints.seal()
        if options["head"]:
            self._print_head()
            return
        self.told = 0
        verified = audit_verification.verify(
            expected=options["expect"] or "", progress=self._progress
        )
        self._name(verified.findings, study)
        self._conclude(verified)

    def _print_head(self) -> None:
        head = audit_checkpoints.head()
        if head is None:
            raise CommandError("Nothing is sealed yet: --seal makes the first checkpoint.")
        self.stdout.write(head.digest)

    def _progress(self, rows: int) -> None:
        if rows - self.told >= TELL_EVERY:
            self.told = rows
            self.stderr.write(f"{rows:,} rows verified …")

    def _name(self, findings: list[Finding], study: Study | None) -> None:
        """Missing rows and broken checkpoints are anybody's: nothing says whose they were."""
        named = [
            finding for finding in findings if study is None or finding.study_id in (None, study.pk)
        ]
        for finding in named[:MOST_NAMED]:
            self.stdout.write(str(finding))
        if len(named) > MOST_NAMED:
            self.stdout.write(f"… and {len(named) - MOST_NAMED:,} more.")
        if len(findings) > len(named):
            self.stdout.write(
                f"Of other studies: {len(findings) - len(named):,}. Leave out --study to see them."
            )

    def _conclude(self, verified: Verified) -> None:
        said = (
            f"{verified.rows:,} rows under {verified.checkpoints:,} checkpoints, "
            f"{verified.unsealed:,} rows not sealed yet."
        )
        if verified.findings:
            raise CommandError(f"{said} {len(verified.findings):,} do not fit.", returncode=1)
        if verified.unsealed and not verified.checkpoints:
            raise CommandError(
                f"{said} Nothing is sealed, so nothing can be verified: the worker seals every few "
                "minutes, or --seal does now. If it was sealed before, checkpoints are missing.",
                returncode=1,
            )
        self.stdout.write(f"{said} All fit. Head: {verified.head or 'none'}")
