"""The ASGI application, for production servers. Maintained by the template."""

import os

from django.core.asgi import get_asgi_application

from common.environment import configuration_errors_end_the_process

os.environ.setdefault(
    "DJANGO_SETTINGS_MODULE",
    "{@ package_name @}.settings.production",
)

with configuration_errors_end_the_process():
    application = get_asgi_application()
