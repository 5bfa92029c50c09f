"""The app of the shared code. Maintained by the template: make apps of your own instead."""

from django.apps import AppConfig


class CommonConfig(AppConfig):
    """Register the system checks once the apps are loaded."""

    name = "common"

    def ready(self) -> None:
        from . import (
            checks,  # noqa: F401 (importing them registers them)
            # @if media_storage == "none"
            uploads,  # noqa: F401 (the same)
            # @endif
        )
