"""Defaults for tests. Maintained by the template: change settings/test.py instead."""

from typing import Any

SECRET_KEY = "not-a-secret-only-for-tests-" + "0" * 30
ALLOWED_HOSTS = ["testserver", "localhost"]

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# No collectstatic before the tests, and no files left behind.
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True

# Fast, and good enough for passwords that no one uses.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# @if task_queue == "celery"

CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
# @endif
