"""The WSGI application, for production servers. Maintained by the template."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from common.environment import configuration_errors_end_the_process

os.environ.setdefault(
    "DJANGO_SETTINGS_MODULE",
    "{@ package_name @}.settings.production",
)

with configuration_errors_end_the_process():
    application = get_wsgi_application()
    # The addresses and all views, now: gunicorn's workers are forked from this and share them, and
    # a module that cannot be imported ends the start rather than each request.
    get_resolver().reverse_dict  # noqa: B018 (what is loaded is kept by Django)
