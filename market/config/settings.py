"""Django's settings, from the environment alone (see `market.config.environment`)."""

import base64
import binascii
import hashlib
import os
import tempfile
from pathlib import Path

import dj_database_url
import psycopg
from redis.backoff import NoBackoff
from redis.retry import Retry

from market.config import brokers, logs
from market.config.environment import ENVIRONMENT, parts, public_key_of

IS_PRODUCTION = ENVIRONMENT.atoms_env == "production"
IS_TEST = ENVIRONMENT.atoms_env == "test"
DEBUG = False
# The system checks refuse production without a key; these words guard nothing but a developer's own machine.
SECRET_KEY = ENVIRONMENT.atoms_secret_key or "local-development-only-0123456789abcdefghijklmnopqrstuvwxyz"
PUBLIC_URL = ENVIRONMENT.atoms_public_url.rstrip("/")
ALLOWED_HOSTS = parts(ENVIRONMENT.atoms_allowed_hosts)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
TRUSTED_PROXIES = ENVIRONMENT.atoms_trusted_proxies
RESTRICTED_PLACES = parts(ENVIRONMENT.atoms_restricted_places)
EGRESS_TEST_HOSTS = parts(ENVIRONMENT.atoms_egress_test_hosts)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "tasks",
    "verification",
    "verification.research",
    "market.accounts",
    "market.events",
    "market.ledger",
    "market.escrow",
    "market.payments",
    "market.bounties",
    "market.bounties.research",
    "market.api",
    "market.web",
    "market.config",
]
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "market.config.middleware.request_id",
    "market.config.middleware.content_security",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "market.config.bounds.bounded_bodies",
    "market.config.bounds.threads_for_money",
    "market.config.bounds.counted_requests",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# 0: not known, so nothing is shed.
WEB_THREADS = ENVIRONMENT.granian_blocking_threads
ROOT_URLCONF = "market.config.urls"
WSGI_APPLICATION = "market.config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# -- Security ---------------------------------------------------------------------------------------------------------
_IS_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _IS_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = IS_PRODUCTION
# Load balancers ask without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES > 0 else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
PASSWORD_HASHERS = (
    # A test makes users by the hundred.
    ["django.contrib.auth.hashers.MD5PasswordHasher"] if IS_TEST else ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]


def _receipt_seed() -> bytes:
    """Return the 32 bytes that sign receipts; outside production they may follow from the secret key."""
    try:
        return base64.b64decode(ENVIRONMENT.atoms_receipt_seed, validate=True) or hashlib.sha256(SECRET_KEY.encode()).digest()
    except binascii.Error:
        # market.E003 says so; signing with this raises.
        return b""


def _receipt_old_keys() -> list[bytes]:
    """Return the public keys that signed receipts before."""
    try:
        return [public_key_of(text) for text in parts(ENVIRONMENT.atoms_receipt_old_keys)]
    except ValueError:
        # market.E012 says so.
        return []


RECEIPT_SEED = _receipt_seed()
RECEIPT_OLD_KEYS = _receipt_old_keys()

# -- PostgreSQL -------------------------------------------------------------------------------------------------------
# Nothing a request or job does takes this long; what waits longer is stuck and holds locks that others need.
_CONNECTION_OPTIONS = "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
# Without an address, libpq's own default; the first query says that nothing listens there.
DATABASES = {"default": dj_database_url.parse(ENVIRONMENT.database_url or "postgresql:///atoms", conn_max_age=600, conn_health_checks=True)}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"].setdefault("options", _CONNECTION_OPTIONS)
DATABASES["default"]["OPTIONS"].setdefault("connect_timeout", 10)
# Guarded updates and unique rows carry the invariants; a stricter level costs five times as much (docs/decisions/0003).
DATABASES["default"]["OPTIONS"]["isolation_level"] = psycopg.IsolationLevel.READ_COMMITTED

# -- Redis and Celery -------------------------------------------------------------------------------------------------
REDIS_URL = ENVIRONMENT.redis_url or "redis://127.0.0.1:6379/0"
GPU_REDIS_URL = ENVIRONMENT.atoms_gpu_redis_url or REDIS_URL
if ENVIRONMENT.pytest_xdist_worker:
    # Test processes share a server; emptying one's cache must not empty the others', nor take their jobs.
    _DATABASE = 1 + int(ENVIRONMENT.pytest_xdist_worker.removeprefix("gw"))
    REDIS_URL, GPU_REDIS_URL = (brokers.with_database(url, _DATABASE) for url in (REDIS_URL, GPU_REDIS_URL))
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        # It keeps requests waiting, so it is given up soon. Once more at once: a connection may have died while it idled.
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 1)},
    },
    # What a process remembers for itself.
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}},
}
CELERY_BROKER_URL = brokers.celery_url(REDIS_URL)
# A publish on a dead connection would wait for ever without these.
_TRANSPORT_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 5, "socket_keepalive": True, "health_check_interval": 25}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    **_TRANSPORT_OPTIONS,
    # Longer than any job may run: a message that reappears while its job runs makes it run twice.
    "visibility_timeout": 180,
    # The defaults look for messages of a killed worker only every 100 s.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 90
# Anyone who can write to a pickle broker runs code here.
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Beat alone publishes by this. What it cannot ring is given up at once: it rings again in seconds.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"payments.*": {"queue": "money"}, "ledger.*": {"queue": "money"}, "bounties.*": {"queue": "money"}}


def _every(seconds: float, job: str) -> dict[str, object]:
    """Ring a sweeper at this interval; a bell that nobody heard in time is thrown away, so that none pile up."""
    return {"task": job, "schedule": seconds, "options": {"expires": max(seconds, 5)}}


CELERY_BEAT_SCHEDULE = {
    "verification": _every(2, "verification.sweep"),
    "research": _every(2, "research.sweep"),
    "bounties": _every(2, "bounties.sweep"),
    "research bounties": _every(2, "bounties.sweep_research"),
    "payments": _every(2, "payments.sweep"),
    "events": _every(1, "events.deliver"),
    "accounts": _every(3600, "accounts.tidy"),
    "ledger": _every(60, "ledger.mark"),
    "evidence": _every(3600, "tasks.tidy"),
}
# The GPU workers' broker carries doorbells alone; what to do they ask over HTTP.
GPU_BROKER_URL = brokers.celery_url(GPU_REDIS_URL)
GPU_BROKER_TRANSPORT_OPTIONS = {**_TRANSPORT_OPTIONS, "global_keyprefix": brokers.GPU_PREFIX}

# -- Language, files, logs --------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
_TEST_FOLDER = Path(tempfile.gettempdir()) / f"atoms-test-{os.getuid()}"
_FILES = _TEST_FOLDER if IS_TEST else ENVIRONMENT.atoms_data_dir
STATIC_ROOT = _FILES / "static"
MEDIA_ROOT = ENVIRONMENT.atoms_media_dir or _FILES / "media"
if IS_TEST:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# Tests read the sources of static files; everything else what collectstatic has hashed and compressed.
_STATIC_STORAGE = "django.contrib.staticfiles.storage.StaticFilesStorage"
if not IS_TEST:
    _STATIC_STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
STORAGES = {
    # Not Django's own: it writes under the final name, and a crash half way would leave a torn file under a whole one's digest.
    "default": {"BACKEND": "tasks.storage.WholeFileStorage"},
    "staticfiles": {"BACKEND": _STATIC_STORAGE},
}
WHITENOISE_USE_FINDERS = IS_TEST
LOGGING = logs.configure(style="json" if IS_PRODUCTION else "console")

# -- The HTTP API -----------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    # Who may call, how often and with what is set in market.api.base: named here, it would be imported in a circle.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "market.api.problems.handle",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Atoms",
    "DESCRIPTION": "A market where software agents pay for work and information in the physical world.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "POSTPROCESSING_HOOKS": ["market.api.schema.finish"],
    "COMPONENT_SPLIT_REQUEST": False,
}
# JSON bodies are bounded by market.api.parsing; forms carry a handful of fields and files.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 50
DATA_UPLOAD_MAX_NUMBER_FILES = 10
