"""A study, its sites, arms and phases, and who may do what in it."""

import hashlib
import re
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from ema.zone_names import zone_named

LONGEST_TEXT = 4000
valid_language = RegexValidator(
    r"\A[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*\Z",
    "Write a language as en, nl or pt-BR.",
    code="language",  # a JSON field has its own words for "invalid"
)
valid_app_version = RegexValidator(
    r"\A\d+(?:\.\d+){0,3}\Z", "Write a version in digits and dots, such as 2.1."
)


valid_key = re.compile(r"[-a-zA-Z0-9_]{1,40}")


def new_seed() -> bytes:
    """256 random bits: the source of every prompt time of a study."""
    return secrets.token_bytes(32)


def refuse_wrong_weekdays(value: object) -> None:
    """ValidationError unless these are different ISO weekdays."""
    weekdays = value if isinstance(value, list) else [None]
    if not all(type(day) is int and 1 <= day <= 7 for day in weekdays):
        raise ValidationError("Write weekdays as numbers, 1 is Monday: [1, 3, 5].")
    if len(set(weekdays)) < len(weekdays):
        raise ValidationError("Name each weekday once.")


def refuse_unknown_zone(name: str) -> None:
    """ValidationError unless this is a zone; names of long ago are."""
    try:
        zone_named(name)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def refuse_wrong_texts(value: object) -> None:
    """ValidationError unless these are texts by language."""
    texts: dict[Any, Any] = value if isinstance(value, dict) else {"": None}
    if not all(isinstance(text, str) and text.strip() for text in texts.values()):
        raise ValidationError("Write texts by language: en: Call 0123 456.")
    for language, text in texts.items():
        valid_language(language)
        if len(text) > LONGEST_TEXT:
            raise ValidationError(f"Keep the text in {language} to {LONGEST_TEXT} characters.")


def refuse_wrong_treatments(value: object) -> None:
    """ValidationError unless these are keys of treatments by keys of phases."""
    found: dict[Any, Any] = value if isinstance(value, dict) else {"": None}
    for phase, treatment in found.items():
        if not all(isinstance(one, str) and valid_key.fullmatch(one) for one in (phase, treatment)):
            raise ValidationError(
                'Write treatments by phase: {"first": "placebo", "second": "clonidine"}; keys are '
                "1 to 40 letters, digits, - and _."
            )


def whole_day_windows() -> list[dict[str, object]]:
    return [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "08:00", "end": "22:00"}]


def no_reminders() -> list[int]:
    return []


class Masking(models.TextChoices):
    OPEN = "open", "open: operators with the right may compare arms at any time"
    DOUBLE_BLIND = "double_blind", "double blind: only the closed role sees arms"


class ClosedLabels(models.TextChoices):
    NAMED = "named", "by name: placebo, clonidine"
    CODED = "coded", "by code: A, B, drawn at random when the study starts"


class Travel(models.TextChoices):
    FOLLOW_PHONE = "follow_phone", "follow the phone: from the next study day not begun"
    HOME_ZONE = "home_zone", "home zone: prompts keep to the clock at home"


class Study(models.Model):
    slug = models.SlugField(unique=True, help_text="Short name used in addresses and commands.")
    title = models.CharField(max_length=200)
    urine_weekdays = models.JSONField(
        default=list,
        blank=True,
        validators=[refuse_wrong_weekdays],
        help_text="Days of urine tests, 1 is Monday: [1, 3, 5]. Empty: no urine tests.",
    )
    urine_grace_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        default=2,
        validators=[MaxValueValidator(7)],
        help_text="Whole days after the day a urine test is due; an open test is missed after "
        "them. Empty: never by itself.",
    )
    double_entry = models.BooleanField(
        default=False,
        verbose_name="enter results twice",
        help_text="Urine results and adverse events are entered by two people, each without seeing "
        "what the other wrote. What they agree on stands; where they differ somebody decides, with "
        "a reason. What was entered once before a change of this is finished by two people.",
    )
    masking = models.CharField(max_length=20, choices=Masking, default=Masking.DOUBLE_BLIND)
    closed_labels = models.CharField(
        max_length=10,
        choices=ClosedLabels,
        default=ClosedLabels.NAMED,
        help_text="How the closed role reads arms while they are hidden.",
    )
    zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[refuse_unknown_zone],
        help_text="IANA zone of the study team.",
    )
    travel = models.CharField(max_length=20, choices=Travel, default=Travel.FOLLOW_PHONE)
    contact = models.JSONField(
        default=dict,
        blank=True,
        validators=[refuse_wrong_texts],
        help_text='Whom participants ask, as the app shows it: {"en": "Call 0123 456."}.',
    )
    instructions = models.JSONField(
        default=dict,
        blank=True,
        validators=[refuse_wrong_texts],
        help_text='What the app tells participants, by language: {"en": "…"}.',
    )
    minimum_app_version = models.CharField(
        max_length=40,
        blank=True,
        validators=[valid_app_version],
        help_text="Apps older than this ask to be updated: 2.1. Empty: any will do.",
    )
    seed = models.BinaryField(default=new_seed, editable=False, max_length=32)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    locked_at = models.DateTimeField(null=True, blank=True, editable=False)
    unmasked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name_plural = "studies"
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(masking__in=Masking.values),
                name="study_masking_is_open_or_double_blind",
            ),
            models.CheckConstraint(
                condition=Q(closed_labels__in=ClosedLabels.values),
                name="study_closed_labels_are_named_or_coded",
            ),
            models.CheckConstraint(
                condition=Q(travel__in=Travel.values), name="study_travel_is_a_known_policy"
            ),
            models.CheckConstraint(
                condition=Q(urine_grace_days__isnull=True) | Q(urine_grace_days__lte=7),
                name="a_urine_test_is_missed_within_a_week",
                violation_error_message="Wait at most 7 days: a sample of a later day is another "
                "test's.",
            ),
            models.CheckConstraint(
                condition=Q(unmasked_at__isnull=True) | Q(locked_at__lte=F("unmasked_at")),
                name="study_is_unmasked_only_after_it_is_locked",
                violation_error_message="Lock the study before unmasking it.",
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def seed_commitment(self) -> str:
        """SHA-256 of the seed, published at the start: the schedule can be verified later."""
        return hashlib.sha256(bytes(self.seed)).hexdigest()

    @property
    def arms_are_hidden(self) -> bool:
        """Whether only the closed role may learn anything about arms."""
        return self.masking == Masking.DOUBLE_BLIND and self.unmasked_at is None


class Site(models.Model):
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="sites")
    code = models.SlugField(max_length=20)
    title = models.CharField(max_length=200)
    zone = models.CharField(max_length=64, default="UTC", validators=[refuse_unknown_zone])

    class Meta:
        ordering = ["study", "code"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "code"], name="site_code_is_unique_in_its_study"
            )
        ]

    def __str__(self) -> str:
        return self.code


class Arm(models.Model):
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="arms")
    key = models.CharField(max_length=40, help_text="As it appears in tables: placebo, clonidine.")
    title = models.CharField(max_length=200, blank=True)
    is_reference = models.BooleanField(default=False, help_text="The arm others are compared with.")
    treatments = models.JSONField(
        default=dict,
        blank=True,
        validators=[refuse_wrong_treatments],
        help_text="In a crossover, where an arm is a sequence: what it receives in each phase, "
        '{"first": "placebo", "second": "clonidine"}. Empty: one treatment throughout.',
    )

    class Meta:
        ordering = ["study", "key"]
        constraints = [
            models.UniqueConstraint(fields=["study", "key"], name="arm_key_is_unique_in_its_study"),
            models.UniqueConstraint(
                fields=["study"],
                condition=Q(is_reference=True),
                name="a_study_has_one_reference_arm",
                violation_error_message="This study already has a reference arm.",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class ArmLabel(models.Model):
    """The code of an arm; drawn when the study starts, and kept from every page."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="+")
    arm = models.OneToOneField(Arm, on_delete=models.PROTECT, related_name="+")
    label = models.CharField(max_length=2)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "label"], name="a_label_is_of_one_arm"),
        ]

    def __str__(self) -> str:
        return f"label of an arm of {self.study}"


class PhaseQuerySet(models.QuerySet["Phase"]):
    def drawn(self) -> "PhaseQuerySet":
        """Phases whose prompts are drawn here (imported ones came with their prompts)."""
        return self.exclude(design=Design.IMPORTED)


class Design(models.TextChoices):
    CIRCLE = "circle", "circle: gap kept, every waking second equally likely"
    STRATIFIED = "stratified", "stratified: one in each equal block"
    STRATIFIED_ROTATED = "stratified_rotated", "stratified and rotated: most even"
    UNIFORM = "uniform", "uniform: no minimum gap"
    FIXED = "fixed", "fixed local times"
    IMPORTED = "imported", "imported: prompts came with the data, none are drawn"


class Start(models.TextChoices):
    PREVIOUS_PHASE = "previous_phase", "the end of the phase before it (the first: enrolment)"
    ENROLMENT = "enrolment", "the date of enrolment"
    ALLOCATION = "allocation", "the date of allocation"
    VISIT = "visit", "the date of a visit"


class Phase(models.Model):
    """A stretch of study days with one sampling protocol."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="phases")
    key = models.SlugField(max_length=40)
    position = models.PositiveSmallIntegerField(help_text="1 is first; its place in the chain.")
    starts = models.CharField(max_length=20, choices=Start, default=Start.PREVIOUS_PHASE)
    offset_days = models.PositiveSmallIntegerField(
        default=0, help_text="Days from what it starts at to its first day."
    )
    visit = models.SlugField(
        max_length=40, blank=True, help_text="Key of the visit it starts at, such as discharge."
    )
    days = models.PositiveSmallIntegerField(default=98, validators=[MinValueValidator(1)])
    questionnaire = models.ForeignKey(
        "ema.QuestionnaireVersion", on_delete=models.PROTECT, related_name="phases"
    )
    design = models.CharField(max_length=20, choices=Design, default=Design.CIRCLE)
    prompts_per_day = models.PositiveSmallIntegerField(
        default=4, validators=[MinValueValidator(1), MaxValueValidator(48)]
    )
    minimum_gap = models.DurationField(default=timedelta(minutes=60))
    windows = models.JSONField(
        default=whole_day_windows,
        help_text='Local times: [{"weekdays": [1, …, 7], "start": "08:00", "end": "22:00"}].',
    )
    fixed_times = models.JSONField(
        default=list, blank=True, help_text='For the fixed design: ["09:00", "21:00"].'
    )
    expires_after = models.DurationField(default=timedelta(minutes=30))
    expires_by_window_end = models.BooleanField(
        default=False, help_text="A prompt also closes when its window does."
    )
    reminders_after = models.JSONField(
        default=no_reminders, blank=True, help_text="Minutes after the prompt: [15]."
    )
    self_initiated_daily_cap = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Own reports that the app offers a day. Empty: no limit; 0: none.",
    )

    objects = PhaseQuerySet.as_manager()

    class Meta:
        ordering = ["study", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "key"], name="phase_key_is_unique_in_its_study"
            ),
            models.UniqueConstraint(
                fields=["study", "position"], name="phase_position_is_unique_in_its_study"
            ),
            models.CheckConstraint(condition=Q(days__gte=1), name="phase_lasts_at_least_one_day"),
            models.CheckConstraint(
                condition=Q(starts__in=Start.values), name="phase_starts_at_a_known_point"
            ),
            models.CheckConstraint(
                condition=(Q(starts="visit") & ~Q(visit="")) | (~Q(starts="visit") & Q(visit="")),
                name="a_phase_names_the_visit_it_starts_at",
                violation_error_message="Name the visit that the phase starts at, or no visit.",
            ),
            models.CheckConstraint(
                condition=Q(prompts_per_day__gte=1), name="phase_has_at_least_one_prompt_a_day"
            ),
            models.CheckConstraint(
                condition=Q(minimum_gap__gte=timedelta(0)), name="phase_minimum_gap_is_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(expires_after__gt=timedelta(0)),
                name="phase_prompts_expire_after_they_are_due",
                violation_error_message="expires_after must be longer than zero.",
            ),
            models.CheckConstraint(
                condition=Q(design__in=Design.values), name="phase_design_is_a_known_one"
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Role(models.TextChoices):
    COORDINATOR = "coordinator", "coordinator (of a site)"
    INVESTIGATOR = "investigator", "investigator (of a study)"
    STATISTICIAN = "statistician", "statistician (closed: sees arms)"
    PHARMACIST = "pharmacist", "pharmacist (unblinds one participant in an emergency)"
    AUDITOR = "auditor", "auditor (reads the audit trail)"


AT_A_SITE = (Role.COORDINATOR.value, Role.PHARMACIST.value)


class Membership(models.Model):
    """What a user may do in a study; `site` narrows a coordinator or pharmacist to one site."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="memberships")
    site = models.ForeignKey(
        Site, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=20, choices=Role)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "study", "site", "role"],
                nulls_distinct=False,
                name="a_role_is_granted_once",
            ),
            models.CheckConstraint(
                condition=Q(role__in=Role.values), name="membership_role_is_a_known_one"
            ),
            models.CheckConstraint(
                condition=Q(site__isnull=True) | Q(role__in=AT_A_SITE),
                name="only_who_works_at_a_site_is_kept_to_one",
                violation_error_message="Only a coordinator or a pharmacist is kept to a site.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.study}"
