"""Defaults for tests. Maintained by the template: change settings/test.py instead."""

import os
from typing import Any

from .databases import CACHES

SECRET_KEY = "not-a-secret-only-for-tests-" + "0" * 30
ALLOWED_HOSTS = ["testserver", "localhost"]

# The cache that the environment names, under keys of this run alone.
CACHES["default"]["KEY_PREFIX"] = f"test-{os.getpid()}"

# No collectstatic before the tests, and no files left behind.
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True

# @if task_queue == "celery"
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True

# @endif
# Fast, and good enough for passwords that no one uses.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
