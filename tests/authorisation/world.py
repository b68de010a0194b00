"""The world in which the table is tried: one of everything, and everybody who might try.

Addresses are about the study `relief`, its site S1 and its participant P00 unless a line of the
table says otherwise. A new kind of record that an address names gets its place in `things`.
"""

import uuid
from copy import copy
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User
from django.http import HttpResponseBase
from django.test import Client
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.datasets.snapshots import directory_of, request_snapshot
from analytics.freezing import freeze
from analytics.models import Comparison
from analytics.plan import Plan
from analytics.plans import save
from ema import access, adverse_events, audit, double_entry
from ema.alerts import look_at
from ema.models import (
    AdverseEvent,
    Alert,
    AuditEvent,
    DoubleEntry,
    Participant,
    Pause,
    PushRegistration,
    Quarantine,
    Site,
    Study,
    Visit,
)
from ema.sessions import note
from ema.urine import today_of
from scheduler.models import Delivery
from tests import trial
from tests.analytics.answers import make_trial
from tests.analytics.urine import SIGNS, a_test
from tests.authorisation.rows import (
    NOWHERE,
    OTHER_SITE,
    OTHER_STUDY,
    ROLES,
    SITE,
    STUDY,
    Person,
)
from tests.ema.alert_rules import add_rule, an_answer

AT_A_SITE = ("coordinator", "pharmacist")
KNOWN: dict[int, User] = {}


class InMemory(BaseBackend):
    """Who signed in and what they hold, without two statements for each request."""

    def get_user(self, user_id: int) -> User | None:
        return copy(KNOWN[user_id])


BACKEND = f"{__name__}.{InMemory.__name__}"
IN_MEMORY: dict[str, Any] = {
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "AUTHENTICATION_BACKENDS": [*settings.AUTHENTICATION_BACKENDS, BACKEND],
}
"""Settings by which a request asks the database neither for its session nor for its user."""


class World(NamedTuple):
    things: dict[str, Any]
    """What stands in an address: by model (`ema_prompt`) where it is an object of the admin."""
    people: dict[Person, Client]

    def ask(self, person: Person, method: str, address: str) -> HttpResponseBase:
        """One request with whatever this person has: a session, a phone's token, nothing."""
        client = self.people[person]
        kept = {name: part.value for name, part in client.cookies.items()}
        answer: HttpResponseBase = client.generic(method, address)
        client.cookies = SimpleCookie(kept)  # signed out or not, the next request is as this one
        return answer


def make_world() -> World:
    study = make_trial(masking="double_blind", n=4, prompts=4)
    Site.objects.create(study=study, code="S2", title="Second site")
    estimate_couplings(timezone.now())
    other = trial.make_study("other")
    person = study.participants.get(code="P00")
    things = things_of_study(study) | things_of_participant(person)
    return World(things, people_of(study, other))


def things_of_study(study: Study) -> dict[str, Any]:
    now = timezone.now()
    freeze(study, audit.COMMAND, now)
    doses = {"placebo": 0.0, "clonidine": 1.0}
    save(study=study, key="primary", plan=Plan(doses=doses), actor=audit.COMMAND, now=now)
    snapshot = request_snapshot(study, audit.COMMAND, "masked", now)
    snapshot.built_at = timezone.now()
    snapshot.sha256 = "0" * 64
    snapshot.save()
    directory_of(snapshot).mkdir(parents=True, exist_ok=True)
    (directory_of(snapshot) / "codebook.csv").write_text("table,column\n")
    version = study.phases.all()[0].questionnaire
    return {
        "slug": study.slug,
        "key": "primary",
        "version": 1,
        "number": Comparison.objects.get(study=study).pk,
        "snapshot": snapshot.pk,
        "name": "coupling",
        "kind": "svg",
        "event": "lapse",
        "file_format": "json",
        "app_label": "ema",
        "url": "nothing",
        "content_type_id": 1,
        "object_id": 1,
        "pk": version.pk,
        "ema_study": study.pk,
        "ema_questionnaire": version.questionnaire_id,
        "ema_questionnaireversion": version.pk,
        "auth_user": User.objects.create_user("somebody").pk,
        "id": User.objects.get(username="somebody").pk,
    }


def things_of_participant(person: Participant) -> dict[str, Any]:
    now, device, prompt = timezone.now(), person.devices.get(), person.prompts.all()[0]
    for each in person.study.participants.all():
        a_test(each, now.date() + timedelta(days=7), SIGNS["+"]).save()
    test = a_test(person, now.date() + timedelta(days=8), SIGNS["?"])
    test.save()
    kept = Quarantine.objects.create(
        device=device, participant=person, raw={}, reason="broken", content_sha256=b"\0" * 32
    )
    event = audit.record(
        actor=audit.COMMAND,
        action="participant.looked_at",
        subject="participant P00",
        study=person.study,
        site=person.site,
    )
    made = {
        "participant": person,
        "visit": Visit.objects.create(
            participant=person, key="v1", on_date=now.date(), recorded_at=now
        ),
        "pause": Pause.objects.create(participant=person, begins_at=now, ends_at=now),
        "prompt": prompt,
        "response": prompt.responses.get(),
        "urinetest": test,
        "quarantine": kept,
        "device": device,
        "pushregistration": PushRegistration.objects.create(
            device=device, kind="fcm", address="token", registered_at=now
        ),
        "auditevent": AuditEvent.objects.get(pk=event.pk),
    }
    rule = add_rule(person.study)
    an_answer(person, craving=95)
    look_at(rule, timezone.now())
    delivery = Delivery.objects.create(
        prompt=prompt,
        channel="console",
        due_at=prompt.due_at,
        expires_at=prompt.expires_at,
        next_attempt_at=prompt.due_at,
    )
    event_number = an_adverse_event(person).pk
    named = {f"ema_{name}": one.pk for name, one in made.items()}
    return named | {
        "scheduler_delivery": delivery.pk,
        "audit_event": event.pk,
        "ema_alertrule": rule.pk,
        "alert_number": Alert.objects.get(rule=rule).pk,
        "event_number": event_number,
        "entry_number": a_first_entry(person).pk,
        "code": person.code,
    }


def an_adverse_event(person: Participant) -> AdverseEvent:
    return adverse_events.report(
        participant=person,
        key=uuid.uuid4(),
        said={
            "term": "headache",
            "severity": "mild",
            "relatedness": "possible",
            "started_on": today_of(person, timezone.now()),
        },
        now=timezone.now(),
        actor=audit.COMMAND,
    )


def a_first_entry(person: Participant) -> DoubleEntry:
    """Of an adverse event, by somebody who has no other part in this world."""
    Study.objects.filter(pk=person.study_id).update(double_entry=True)
    made = double_entry.report_event(
        participant=Participant.objects.get(pk=person.pk),
        key=uuid.uuid4(),
        said={
            "term": "fall",
            "severity": "mild",
            "relatedness": "unlikely",
            "started_on": today_of(person, timezone.now()),
        },
        now=timezone.now(),
        actor=audit.Actor(User.objects.create_user("first"), "page"),
    )
    assert isinstance(made, DoubleEntry)
    return made


def people_of(study: Study, other: Study) -> dict[Person, Client]:
    first, second = study.sites.get(code="S1"), study.sites.get(code="S2")
    found = {
        Person("anonymous", NOWHERE): Client(),
        Person("nobody", NOWHERE): signed_in(User.objects.create_user("nobody")),
        Person("administrator", NOWHERE): signed_in(
            User.objects.create_user("root", is_superuser=True)
        ),
        Person("phone", SITE): with_phone(study.participants.get(code="P00")),
        Person("phone", OTHER_STUDY): with_phone(
            trial.enrol(other, "O1-001", "UTC", timezone.now())
        ),
    }
    for role in sorted(ROLES):
        found[Person(role, STUDY)] = holding(role, study)
        found[Person(role, OTHER_STUDY)] = holding(role, other)
        if role in AT_A_SITE:
            found[Person(role, SITE)] = holding(role, study, first)
            found[Person(role, OTHER_SITE)] = holding(role, study, second)
    return found


def signed_in(user: User) -> Client:
    """Under the settings `IN_MEMORY`, somebody whose roles are not going to change."""
    access.holds(user)  # what they hold is read now, and kept with them
    KNOWN[user.pk] = user
    client = Client()
    client.force_login(user, BACKEND)
    session = client.session
    note(session, timezone.now())  # once, as each request is undone with what it notes
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(session.session_key)
    return client


def holding(role: str, study: Study, site: Site | None = None) -> Client:
    user = User.objects.create_user(f"{role}-{study}-{site or 'whole'}")
    study.memberships.create(user=user, role=role, site=site)
    return signed_in(user)


def with_phone(participant: Participant) -> Client:
    phone = trial.redeem(participant)
    return Client(headers={"Authorization": f"Bearer {phone.access_token}"})
