"""A check for a service without uploads. Maintained by the template: silence in settings/base.py.

https://docs.djangoproject.com/en/{@ django_version @}/topics/checks/
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.core.files.storage import FileSystemStorage
from django.db.models import FileField


@register(Tags.models)
def check_file_fields(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Return an error for each field whose files would land wherever the process was started."""
    return [
        checks.Error(
            f"{field} takes files, but this service keeps no uploads.",
            hint=(
                'Run `make update ANSWERS="media_storage=s3"` (or local) to have uploads, or give '
                'the field or STORAGES["default"] a storage of your own; see docs/operations.md.'
            ),
            obj=field,
            id="common.E003",
        )
        for config in app_configs or apps.get_app_configs()
        for model in config.get_models()
        for field in model._meta.local_fields  # noqa: SLF001 (Django documents it)
        if isinstance(field, FileField)
        and isinstance(field.storage, FileSystemStorage)
        and not field.storage.base_location
    ]
