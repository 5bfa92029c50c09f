"""Where uploads are kept. Maintained by the template.

It holds whatever this project has set: what is tested are the defaults.
"""

# @if media_storage == "local"
import os
from importlib import import_module
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from pytest_django import Settings

media = import_module("{@ package_name @}.settings.defaults.media")


def test_the_proxy_may_read_uploads_and_nobody_run_them(settings: Settings, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_PERMISSIONS = media.FILE_UPLOAD_PERMISSIONS
    settings.FILE_UPLOAD_DIRECTORY_PERMISSIONS = media.FILE_UPLOAD_DIRECTORY_PERMISSIONS
    former = os.umask(0o077)
    try:
        FileSystemStorage(tmp_path).save("receipts/one.txt", ContentFile(b"7 euros"))
    finally:
        os.umask(former)

    assert (tmp_path / "receipts").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "receipts/one.txt").stat().st_mode & 0o777 == 0o644


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    storage = FileSystemStorage(tmp_path)

    first, second = (storage.save("one.txt", ContentFile(text)) for text in (b"7", b"8"))

    assert first != second
    assert (tmp_path / first).read_bytes() == b"7"
# @else
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

# Read in a process of its own, as settings are read once in each; no server is asked.
SCRIPT = """
import json
from {@ package_name @}.settings.defaults import csp, media
from django.conf import settings
from django.utils.module_loading import import_string

settings.configure(MEDIA_URL=media.MEDIA_URL)
backend, options = media.default_storage["BACKEND"], media.default_storage.get("OPTIONS", {})
# @if django_version == "6.1"
directives = csp.SECURE_CSP
# @else
directives = csp.CONTENT_SECURITY_POLICY["DIRECTIVES"]
# @endif
url = import_string(backend)(**options).url("a b.png")
print(json.dumps({"url": url, "sources": directives["img-src"]}))
"""
DEFAULTS = "{@ package_name @}.settings.defaults"
VARIABLES = import_module(f"{DEFAULTS}.environment").env.variables
NOTHING = {variable.name: "" for variable in VARIABLES if variable.name.startswith("AWS_")}
KEY = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hush"}


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    """Read the defaults with these variables."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **NOTHING, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def answer(**variables: str) -> Any:
    """Return the address of an upload, and the sources of images that the policy allows."""
    done = run(**variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_a_bucket_files_are_kept_here() -> None:
    assert answer()["url"] == "/media/a%20b.png"


def test_an_address_is_signed_and_expires() -> None:
    url = answer(**KEY, AWS_STORAGE_BUCKET_NAME="uploads", AWS_QUERYSTRING_EXPIRE="60")["url"]

    assert "X-Amz-Signature=" in url
    assert "X-Amz-Expires=60&" in url
    assert "hush" not in url


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({}, "https://uploads.s3.us-east-1.amazonaws.com"),
        (
            {"AWS_S3_REGION_NAME": "eu-central-1"},
            "https://uploads.s3.eu-central-1.amazonaws.com",
        ),
        ({"AWS_S3_ENDPOINT_URL": "https://s3.example.com/"}, "https://uploads.s3.example.com"),
        (
            {"AWS_S3_ENDPOINT_URL": "http://10.0.0.1:9000", "AWS_S3_ADDRESSING_STYLE": "path"},
            "http://10.0.0.1:9000/uploads/",
        ),
    ],
)
def test_the_policy_lets_pages_show_uploads(variables: dict[str, str], source: str) -> None:
    found = answer(**KEY, AWS_STORAGE_BUCKET_NAME="uploads", **variables)

    assert source in found["sources"]
    assert found["url"].startswith(f"{source.rstrip('/')}/a%20b.png?")


def test_half_a_key_is_refused() -> None:
    done = run(AWS_STORAGE_BUCKET_NAME="uploads", AWS_ACCESS_KEY_ID="key")

    assert done.returncode != 0
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together" in done.stderr
# @endif
