"""Defaults for every environment. Maintained by the template: change settings/base.py instead.

What production needs is set here or in production.py, never in both, so that a change in
settings/base.py reaches production. https://docs.djangoproject.com/en/{@ django_version @}/ref/settings/
"""

from importlib.metadata import version
from typing import Any

from common.environment import PROJECT_DIR

# For settings/base.py, which takes all names from here: without its alias mypy keeps it back.
from common.environment import Environment as Environment  # noqa: PLC0414 (the alias is needed)

from . import environment
# @if task_queue == "celery"
from .celery import *
# @endif
from .csp import *
from .databases import *
from .media import *

BASE_DIR = PROJECT_DIR

SERVICE_NAME = "{@ project_slug @}"
SERVICE_VERSION = version(SERVICE_NAME)

SECRET_KEY = environment.SECRET_KEY
SECRET_KEY_FALLBACKS = environment.SECRET_KEY_FALLBACKS
DEBUG = False
ALLOWED_HOSTS = environment.ALLOWED_HOSTS
CSRF_TRUSTED_ORIGINS = environment.CSRF_TRUSTED_ORIGINS

ROOT_URLCONF = "{@ package_name @}.urls"
WSGI_APPLICATION = "{@ package_name @}.wsgi.application"

INSTALLED_APPS = [
    "common",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    # @if django_version == "5.2"
    "csp",
    # @endif
]

MIDDLEWARE = [
    # Above all others: probes come by IP address, by plain HTTP and without a session.
    "common.middleware.HealthMiddleware",
    "common.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # @if django_version == "6.1"
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    # @else
    "csp.middleware.CSPMiddleware",
    # @endif
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

METRICS_PORT = environment.METRICS_PORT
if METRICS_PORT:
    # Before what refuses requests, as these count, too.
    MIDDLEWARE.insert(1, "common.metrics.MetricsMiddleware")

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                # @if django_version == "6.1"
                "django.template.context_processors.csp",
                # @else
                "csp.context_processors.nonce",
                # @endif
            ],
        },
    },
]

# https://docs.djangoproject.com/en/{@ django_version @}/topics/auth/passwords/#password-validation
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = environment.LANGUAGE_CODE
TIME_ZONE = environment.TIME_ZONE
USE_TZ = True

# Static files: https://whitenoise.readthedocs.io/en/stable/django.html
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES: dict[str, dict[str, Any]] = {
    "default": default_storage,
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = False
WHITENOISE_USE_FINDERS = False
# Of files without a hash in their name; those with one are immutable, whatever this says.
WHITENOISE_MAX_AGE = environment.WHITENOISE_MAX_AGE

# Readiness: what /ready/ checks, each by a function that raises when its dependency fails.
READINESS_CHECKS = {
    "database": "common.views.health.check_database",
    "cache": "common.views.health.check_cache",
}
# @if task_queue == "celery"
if environment.READY_CHECK_BROKER:
    READINESS_CHECKS["broker"] = "common.broker.check_broker"
# @endif
READINESS_TIMEOUT = environment.READY_CHECK_TIMEOUT

# Logging: one line of JSON for each record; https://docs.djangoproject.com/en/{@ django_version @}/topics/logging/
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "common.logging.JsonFormatter"},
        "text": {"()": "common.logging.TextFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json",
        },
    },
    "root": {"handlers": ["console"], "level": environment.LOG_LEVEL},
    "loggers": {
        # Django's own handlers go, so that a record is written once, by the root's.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        # Anybody can ask for a host that is not ours: the line of the access is enough.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}

SILENCED_SYSTEM_CHECKS: list[str] = []

# Headers that every response carries, so that development meets what production will refuse.
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
PERMISSIONS_POLICY: dict[str, list[str]] = {
    "camera": [],
    "display-capture": [],
    "geolocation": [],
    "microphone": [],
    "payment": [],
    "usb": [],
}

DEFAULT_FROM_EMAIL = environment.DEFAULT_FROM_EMAIL
SERVER_EMAIL = environment.DEFAULT_FROM_EMAIL
# @if django_version == "6.1"
MAILERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": environment.EMAIL,
    },
}
# @else
EMAIL_HOST = environment.EMAIL.get("host", "localhost")
EMAIL_PORT = environment.EMAIL.get("port", 25)
EMAIL_HOST_USER = environment.EMAIL.get("username", "")
EMAIL_HOST_PASSWORD = environment.EMAIL.get("password", "")
EMAIL_USE_TLS = environment.EMAIL.get("use_tls", False)
EMAIL_USE_SSL = environment.EMAIL.get("use_ssl", False)
EMAIL_TIMEOUT = environment.EMAIL.get("timeout", 10)

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# @endif
