"""Django's settings, from the environment alone (see `market.config.environment`)."""

import dj_database_url

from market.config.environment import ENVIRONMENT, ROOT

IS_PRODUCTION = ENVIRONMENT.atoms_env == "production"
DEBUG = False
SECRET_KEY = ENVIRONMENT.atoms_secret_key or "local-development-only-0123456789abcdefghijklmnopqrstuvwxyz"
ALLOWED_HOSTS = ENVIRONMENT.atoms_allowed_hosts.split(",")
PUBLIC_URL = ENVIRONMENT.atoms_public_url.rstrip("/")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

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
    "market.accounts",
    "market.events",
    "market.ledger",
    "market.escrow",
    "market.payments",
    "market.bounties",
    "market.api",
    "market.web",
    "market.config",
]
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
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

DATABASES = {"default": dj_database_url.parse(ENVIRONMENT.database_url, conn_max_age=600, conn_health_checks=True)}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": ENVIRONMENT.redis_url}}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
STATIC_ROOT = ROOT / ".atoms" / "static"
MEDIA_ROOT = ENVIRONMENT.atoms_media_dir
STORAGES = {
    "default": {"BACKEND": "tasks.storage.WholeFileStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# Operators' own GeoJSON layers for market.policy.places.
RESTRICTED_PLACES = [path for path in ENVIRONMENT.atoms_restricted_places.split(":") if path]
WHITENOISE_USE_FINDERS = not IS_PRODUCTION

EGRESS_TEST_HOSTS = frozenset(filter(None, ENVIRONMENT.atoms_egress_test_hosts.lower().split(",")))

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
SPECTACULAR_SETTINGS = {"TITLE": "Atoms", "VERSION": "1", "OAS_VERSION": "3.1.0", "SERVE_INCLUDE_SCHEMA": False}
