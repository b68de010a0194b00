"""The one settings file. Everything that differs between machines comes from the environment.

`docs/operations.md` lists every variable; a test fails when one is missing there. A wrong
value stops the start with a sentence that names its variable.
"""

import os
import secrets
import sys
import warnings
import zoneinfo
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured

from ema import link_settings, push_settings, setting_values
from ema.embedded_servers import Addresses

django_stubs_ext.monkeypatch()  # lets ModelAdmin[Study] and the like be written

env = environ.Env()
# Matrices here are thin: threads of OpenBLAS wait for each other and take the cores of others.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
zoneinfo.reset_tzpath(to=())  # zones come from the pinned tzdata package, never from the machine

BASE_DIR = Path(__file__).resolve().parent.parent


def _read(kind: str, name: str, default: Any) -> Any:
    """One environment variable, or a sentence that names it and says what is right."""
    text = env.str(name, default=None)
    return default if text is None else setting_values.parsed(name, text, kind)


# --- where things are -------------------------------------------------------------------

STATE_DIR = Path(env.str("FOURBEAT_STATE_DIR", default=str(BASE_DIR / ".data"))).expanduser()
DATABASE_URL = env.str("DATABASE_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="") and _read("redis", "REDIS_URL", "")
LOCAL = not DATABASE_URL  # one machine, embedded servers, a key made on first start
ADDRESSES = Addresses.of(STATE_DIR)


def _local_secret_key() -> str:
    """A key of this machine's own, made once and kept beside its data (mode 0600)."""
    path = STATE_DIR / "secret_key"
    if not path.exists():
        try:
            STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = STATE_DIR / f"secret_key.{secrets.token_hex(4)}"
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(48))
            try:
                path.hardlink_to(draft)  # whoever is first decides; nobody reads half a key
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        except OSError as error:
            message = (
                f"FOURBEAT_STATE_DIR={STATE_DIR} cannot be written ({error.strerror}): "
                "name a directory that this user may create and write."
            )
            raise ImproperlyConfigured(message) from error
    return path.read_text()


def _secret_key() -> str:
    key: str = env.str("SECRET_KEY", default="")
    if key or LOCAL:
        return key or _local_secret_key()
    message = "SECRET_KEY is not set: a server (DATABASE_URL is set) needs its own, kept secret."
    raise ImproperlyConfigured(message)


# Statements of the hot path (ema/prepared.py) are planned once per connection, and never compiled:
# both would cost more than they do themselves. What a trial reads is in memory, where looking up is
# cheap: by default PostgreSQL looks through all participants for the one whose phone it is.
PLANS = "-c plan_cache_mode=force_generic_plan -c jit=off -c random_page_cost=1.1"
WHO = f"-c fourbeat.actor={setting_values.process_name(sys.argv)}"


def _database() -> dict[str, Any]:
    if LOCAL:
        found: dict[str, Any] = {
            "ENGINE": "django.db.backends.postgresql",
            **ADDRESSES.database_settings,
        }
    else:
        try:
            with warnings.catch_warnings(action="ignore"):  # what it warns of is refused below
                found = dict(env.db_url_config(DATABASE_URL))
        except (ValueError, TypeError) as error:
            message = "DATABASE_URL cannot be read: write postgres://user:password@host:5432/name."
            raise ImproperlyConfigured(message) from error
        if found.get("ENGINE") != "django.db.backends.postgresql" or not found.get("NAME"):
            message = (
                "DATABASE_URL must name a PostgreSQL server and a database on it: "
                "postgres://user:password@host/name."
            )
            raise ImproperlyConfigured(message)
    defaults = {"options": f"{PLANS} {WHO}", "connect_timeout": 5}
    options = defaults | found.get("OPTIONS", {})
    return {**found, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True, "OPTIONS": options}


DEBUG = _read("switch", "DEBUG", False)
SECRET_KEY = _secret_key()
ALLOWED_HOSTS: list[str] = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if LOCAL else []
)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
if not LOCAL and (DEBUG or "*" in ALLOWED_HOSTS or len(SECRET_KEY) < 32):
    raise ImproperlyConfigured(
        "A server must not run with DEBUG on, with * in ALLOWED_HOSTS "
        "or with a SECRET_KEY shorter than 32 characters."
    )

DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Django -----------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "ema.apps.EmaConfig",
    "scheduler.apps.SchedulerConfig",
    "analytics.apps.AnalyticsConfig",
    "console.apps.ConsoleConfig",
    "ema.apps.OperatorAdminConfig",
    "rest_framework",
    "drf_spectacular",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ema.middleware.content_security_policy",
    "ema.middleware.DatabaseAway",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ema.middleware.names_who_acts",
    "django.contrib.messages.middleware.MessageMiddleware",
    "ema.sessions.expiring_sessions",
    "django_otp.middleware.OTPMiddleware",
    "ema.middleware.second_factor_first",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",  # last, as it asks
]
ROOT_URLCONF = "ema.urls"
WSGI_APPLICATION = "ema.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LANGUAGE_CODE = "en-gb"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=None if LOCAL else str(BASE_DIR / "static"))
WHITENOISE_USE_FINDERS = LOCAL  # a server collects its files first (the Dockerfile does)

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "console:landing"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # refuses who guesses, lets nobody in
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_FAILURES = _read("positive", "LOGIN_FAILURES", 5)
LOGIN_LOCKED_MINUTES = _read("minutes", "LOGIN_LOCKED_MINUTES", 15)
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=LOGIN_LOCKED_MINUTES)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "ema.login.locked_out"
AXES_CLIENT_IP_CALLABLE = "ema.login.client_address"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
AXES_RESET_ON_SUCCESS = AXES_DISABLE_ACCESS_LOG = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
MFA_REQUIRED = _read("switch", "MFA_REQUIRED", not LOCAL)
OTP_TOTP_ISSUER = "Fourbeat"
SESSION_IDLE_MINUTES = _read("minutes", "SESSION_IDLE_MINUTES", 30)
SESSION_HOURS = _read("hours", "SESSION_HOURS", 8)
SESSION_COOKIE_AGE = int(timedelta(hours=SESSION_HOURS).total_seconds())
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not LOCAL
SECURE_PROXY_SSL_HEADER = None if LOCAL else ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_HSTS_SECONDS = 0 if LOCAL else int(timedelta(days=365).total_seconds())
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not LOCAL
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {  # the name that Django 6 uses
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- the phone's API --------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["ema.api.authentication.DeviceAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "ema.api.openapi.DoorSchema",
    "EXCEPTION_HANDLER": "ema.api.errors.as_problem",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": _read("count", "TRUSTED_PROXIES", 0),
    "DEFAULT_THROTTLE_RATES": {"redeem": _read("rate", "REDEEM_RATE", "20/min")},
}
UPLOAD_RATE = _read("rate", "UPLOAD_RATE", "1200/min")
SPECTACULAR_SETTINGS = {
    "TITLE": "Fourbeat",
    "VERSION": "1",
    "DESCRIPTION": "The API of an EMA trial: phones enrol, read their schedule, post responses.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "ENUM_NAME_OVERRIDES": {
        "PushKind": "ema.models.push.PushKind",
        "PauseKind": "ema.models.pause.PauseKind",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ema.api.openapi.document_refusals",
    ],
}
CACHES: dict[str, Any] = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
# Of a Valkey that takes calls and says nothing; redis-py would wait for five seconds.
CACHES["default"]["OPTIONS"] = {"socket_connect_timeout": 1, "socket_timeout": 2}

# --- Celery: PostgreSQL is the truth, messages may be lost ------------------------------

CELERY_BROKER_URL = (  # Celery has its own word for a socket
    REDIS_URL.replace("unix://", "redis+socket://", 1) if REDIS_URL else ADDRESSES.celery_url
)
CACHES["default"]["LOCATION"] = REDIS_URL or ADDRESSES.redis_url
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 280
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_DEFAULT_QUEUE = "trial"
CELERY_TASK_ROUTES = {"scheduler.tasks.dispatch_due": {"queue": "delivery"}}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"

PLAN_EVERY_S = _read("seconds", "PLAN_EVERY_S", 20.0)
DISPATCH_EVERY_S = _read("seconds", "DISPATCH_EVERY_S", 2.0)
COUPLE_EVERY_S = _read("seconds", "COUPLE_EVERY_S", 20.0)
SNAPSHOT_EVERY_S = _read("seconds", "SNAPSHOT_EVERY_S", 10.0)
URINE_EVERY_S = _read("seconds", "URINE_EVERY_S", 3600.0)
AUDIT_SEAL_EVERY_S = _read("seconds", "AUDIT_SEAL_EVERY_S", 300.0)
ALERT_EVERY_S = _read("seconds", "ALERT_EVERY_S", 10.0)
ESCALATE_EVERY_S = _read("seconds", "ESCALATE_EVERY_S", 60.0)
CLOCKS_APART_S = 60.0  # beat and worker may be two hosts; what expires sooner may never run
CELERY_BEAT_SCHEDULE = {  # intervals only: a local crontab dies when clocks change
    task: {"task": task, "schedule": every, "options": {"expires": max(every, CLOCKS_APART_S)}}
    for task, every in {
        "scheduler.tasks.plan_prompts": PLAN_EVERY_S,
        "scheduler.tasks.dispatch_due": DISPATCH_EVERY_S,
        "analytics.tasks.estimate_couplings": COUPLE_EVERY_S,
        "analytics.tasks.build_snapshots": SNAPSHOT_EVERY_S,
        "ema.tasks.schedule_urine_tests": URINE_EVERY_S,
        "ema.tasks.seal_audit": AUDIT_SEAL_EVERY_S,
        "ema.tasks.find_alerts": ALERT_EVERY_S,
        "ema.tasks.escalate_alerts": ESCALATE_EVERY_S,
    }.items()
}

QUIET_PHONE_AFTER = timedelta(days=_read("days", "QUIET_PHONE_DAYS", 3))

# --- delivery and files -----------------------------------------------------------------

DELIVERY_CHANNEL = env.str("DELIVERY_CHANNEL", default="console")
if DELIVERY_CHANNEL not in ("console", "webhook"):
    raise ImproperlyConfigured(
        f"DELIVERY_CHANNEL={DELIVERY_CHANNEL!r} is wrong: it must be console or webhook."
    )
DELIVERY_WEBHOOK_URL = env.str("DELIVERY_WEBHOOK_URL", default="")
if DELIVERY_CHANNEL == "webhook" and not DELIVERY_WEBHOOK_URL.startswith(("http://", "https://")):
    raise ImproperlyConfigured(
        "DELIVERY_WEBHOOK_URL must be an http(s) address when DELIVERY_CHANNEL is webhook."
    )
PUSH_HOSTS: list[str] = env.list("PUSH_HOSTS", default=[])
push_settings.refuse_wrong_hosts(PUSH_HOSTS)
ALERT_WEBHOOK_HOSTS: list[str] = env.list("ALERT_WEBHOOK_HOSTS", default=[])
push_settings.refuse_wrong_hosts(ALERT_WEBHOOK_HOSTS, "ALERT_WEBHOOK_HOSTS")
VAPID_PRIVATE_KEY = env.str("VAPID_PRIVATE_KEY", default="")
VAPID_SUBJECT = env.str("VAPID_SUBJECT", default="")
push_settings.refuse_wrong_vapid(VAPID_PRIVATE_KEY, VAPID_SUBJECT)
FCM_SERVICE_ACCOUNT = push_settings.service_account(env.str("FCM_SERVICE_ACCOUNT", default=""))
FCM_URL = push_settings.base_url(
    "FCM_URL", env.str("FCM_URL", default="https://fcm.googleapis.com")
)
APNS_KEY = push_settings.apns_key(env.str("APNS_KEY", default=""))
APNS_KEY_ID = env.str("APNS_KEY_ID", default="")
APNS_TEAM_ID = env.str("APNS_TEAM_ID", default="")
APNS_TOPIC = env.str("APNS_TOPIC", default="")
APNS_URL = push_settings.base_url(
    "APNS_URL", env.str("APNS_URL", default="https://api.push.apple.com")
)
if APNS_KEY:
    push_settings.refuse_empty(
        "APNS_KEY", APNS_KEY_ID=APNS_KEY_ID, APNS_TEAM_ID=APNS_TEAM_ID, APNS_TOPIC=APNS_TOPIC
    )
EMAIL_FROM = env.str("EMAIL_FROM", default="")
EMAIL_SERVER = link_settings.mail_server(env.str("EMAIL_URL", default=""), EMAIL_FROM)
SMS_URL = link_settings.sms_url(env.str("SMS_URL", default=""))
UNBLINDING_MAIL_TO: list[str] = env.list("UNBLINDING_MAIL_TO", default=[])
link_settings.refuse_wrong_addresses("UNBLINDING_MAIL_TO", UNBLINDING_MAIL_TO)
LINK_URL_TEMPLATE = link_settings.link_template(
    env.str("LINK_URL_TEMPLATE", default=""), needed=bool(EMAIL_SERVER or SMS_URL)
)
SNAPSHOT_DIR = Path(env.str("SNAPSHOT_DIR", default=str(STATE_DIR / "snapshots")))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "class": "ema.logs.Line",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _read("level", "LOG_LEVEL", "WARNING")},
}
