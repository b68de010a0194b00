"""`manage.py alert_rules STUDY`: list the rules of safety alerts, add offered ones, switch."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import alert_rules, audit
from ema.alert_conditions import sentence
from ema.management.named import named, study_named
from ema.models import AlertRule, Study


class Command(BaseCommand):
    """Exit code 2: there is no such study or rule. Exit code 1: the rule is refused."""

    help = (
        "List what a study wants to be told of. --add-offered adds rules that fit its "
        "questionnaires, switched off; --on and --off switch one by its title. Example: "
        "manage.py alert_rules demo --on 'Very strong craving'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--json", action="store_true", help="as JSON, with each rule's hash")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--add-offered", action="store_true", help="add what is offered, off")
        what.add_argument("--on", metavar="TITLE", help="look at what arrives from now on")
        what.add_argument("--off", metavar="TITLE", help="find nothing more by this rule")

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        if options["add_offered"]:
            alert_rules.add_offered(study=study, now=now, actor=audit.COMMAND)
        elif title := options["on"] or options["off"]:
            rule = named(AlertRule, "rule", study=study, title=title)
            is_active = options["on"] is not None
            try:
                alert_rules.save(rule=rule, is_active=is_active, now=now, actor=audit.COMMAND)
            except alert_rules.RuleRefused as error:
                raise CommandError(str(error), returncode=1) from error
        self._list(study, as_json=options["json"])

    def _list(self, study: Study, *, as_json: bool) -> None:
        rules = AlertRule.objects.filter(study=study)
        if as_json:
            listed = [alert_rules.stated(rule) for rule in rules]
            self.stdout.write(json.dumps(listed, indent=2, ensure_ascii=False))
            return
        for rule in rules:
            state = "on" if rule.active_since else "off"
            words = sentence(rule.content())
            self.stdout.write(f"{state:3}  {rule.severity}  {rule.title}: {words}")
        for rule in alert_rules.offered(study):
            self.stdout.write(f"offered: {rule.title}: {sentence(rule.content())}")
