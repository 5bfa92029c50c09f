"""The check for a service without uploads. Maintained by the template."""

from pathlib import Path

import pytest
from django.apps.registry import Apps
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage
from django.db import models
from pytest_django import Settings

from common.uploads import check_file_fields


def said_of(storage: Storage | None) -> list[str]:
    """Return what the check says of a model whose files have this storage, or the default."""
    registry = Apps(["common"])

    class Receipt(models.Model):  # noqa: DJ008 (nobody looks at it)
        scan = models.FileField(storage=storage)

        class Meta:
            apps = registry
            app_label = "common"

    return [message.msg for message in check_file_fields([*registry.get_app_configs()])]


def test_a_field_whose_files_have_no_place_is_an_error(settings: Settings) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    }
    settings.MEDIA_ROOT = ""

    assert said_of(None) == ["common.Receipt.scan takes files, but this service keeps no uploads."]


@pytest.mark.parametrize("location", ["archive", Path("/archive")])
def test_a_field_with_a_place_of_its_own_is_fine(location: str | Path) -> None:
    assert said_of(FileSystemStorage(location)) == []


def test_another_storage_is_fine() -> None:
    assert said_of(InMemoryStorage()) == []
