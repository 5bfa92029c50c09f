"""Defaults for developers. Maintained by the template: change settings/development.py instead."""

from . import base, environment

DEBUG = environment.DEBUG
SECRET_KEY = environment.SECRET_KEY or "not-a-secret-only-for-development-" + "0" * 20
ALLOWED_HOSTS = ["*"]

# Browsers send the cookies of 127.0.0.1 to all of its ports, where other services run.
SESSION_COOKIE_NAME = f"{base.SERVICE_NAME}-sessionid"
CSRF_COOKIE_NAME = f"{base.SERVICE_NAME}-csrftoken"

# Static files straight from the apps, without collectstatic.
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True

# Lines for people instead of JSON.
base.LOGGING["handlers"]["console"]["formatter"] = "text"

# Mail is printed, unless a server is given.
if not environment.EMAIL:
    # @if django_version == "6.1"
    base.MAILERS["default"] = {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
    # @else
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    # @endif
