"""Hardening of production. Maintained by the template: change settings/production.py instead.

https://docs.djangoproject.com/en/{@ django_version @}/howto/deployment/checklist/
"""

import sys

from common.environment import ConfigurationError

from . import base, environment

# Static files are collected while the image is built, where no secret and no server is at hand.
if "collectstatic" not in sys.argv:
    environment.env.require()
    if environment.DATABASE["ENGINE"] == "django.db.backends.sqlite3":
        raise ConfigurationError("DATABASE_URL names SQLite, but production needs PostgreSQL.")
    if "redis" not in environment.CACHE["BACKEND"]:
        raise ConfigurationError(
            "CACHE_URL names the process's own memory, but production needs Redis."
        )

# HTTPS: https://docs.djangoproject.com/en/{@ django_version @}/topics/security/#ssl-https
SECURE_SSL_REDIRECT = environment.SECURE_SSL_REDIRECT
SECURE_HSTS_SECONDS = environment.SECURE_HSTS_SECONDS
SECURE_HSTS_INCLUDE_SUBDOMAINS = environment.SECURE_HSTS_INCLUDE_SUBDOMAINS
SECURE_HSTS_PRELOAD = environment.SECURE_HSTS_PRELOAD
if not SECURE_HSTS_INCLUDE_SUBDOMAINS:
    # The other subdomains may belong to other services: a choice, not an oversight.
    base.SILENCED_SYSTEM_CHECKS += ["security.W005"]
if not SECURE_HSTS_PRELOAD:
    # A place in the browsers' list is all but for ever: a choice, not an oversight.
    base.SILENCED_SYSTEM_CHECKS += ["security.W021"]
if environment.TRUST_X_FORWARDED_PROTO:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# The prefix makes browsers refuse the cookie from plain HTTP and from other hosts:
# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True

if environment.SENTRY_DSN:
    # Loaded only here, as it costs memory and a second of every start.
    from common.sentry import start_sentry

    start_sentry(
        dsn=environment.SENTRY_DSN,
        environment=environment.SENTRY_ENVIRONMENT,
        release=environment.SENTRY_RELEASE or f"{base.SERVICE_NAME}@{base.SERVICE_VERSION}",
        traces_sample_rate=environment.SENTRY_TRACES_SAMPLE_RATE,
    )
