"""Where uploads are kept. Maintained by the template: change settings/base.py instead.

https://docs.djangoproject.com/en/{@ django_version @}/topics/files/
"""

# @if media_storage == "none"
__all__ = ["default_storage"]

# There are no uploads: common/uploads.py sees to it that no model takes any.
default_storage = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
# @elif media_storage == "local"
from common.environment import PROJECT_DIR

from . import environment

__all__ = [
    "FILE_UPLOAD_DIRECTORY_PERMISSIONS",
    "FILE_UPLOAD_PERMISSIONS",
    "MEDIA_ROOT",
    "MEDIA_URL",
    "default_storage",
]

default_storage = {"BACKEND": "django.core.files.storage.FileSystemStorage"}

MEDIA_URL = "/media/"
MEDIA_ROOT = environment.MEDIA_ROOT or PROJECT_DIR / "media"
# The proxy, another user, reads them, whatever the umask is; nobody may run them.
FILE_UPLOAD_PERMISSIONS = 0o644
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o755
# @else
from typing import Any

from common.environment import PROJECT_DIR, ConfigurationError

from . import csp, environment

__all__ = ["MEDIA_ROOT", "MEDIA_URL", "default_storage"]

# Without a bucket, as in development, Django keeps and serves the files itself.
MEDIA_URL = "/media/"
MEDIA_ROOT = PROJECT_DIR / "media"
default_storage: dict[str, Any] = {"BACKEND": "django.core.files.storage.FileSystemStorage"}

if environment.AWS_STORAGE_BUCKET_NAME:
    from botocore.config import Config  # type: ignore[import-untyped]  # it has no types

    if bool(environment.AWS_ACCESS_KEY_ID) != bool(environment.AWS_SECRET_ACCESS_KEY):
        raise ConfigurationError(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: set both, or neither "
            "where the machine has a role."
        )
    _endpoint = (
        environment.AWS_S3_ENDPOINT_URL.rstrip("/")
        or f"https://s3.{environment.AWS_S3_REGION_NAME}.amazonaws.com"
    )
    # https://django-storages.readthedocs.io/en/latest/backends/amazon-S3.html
    default_storage = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": environment.AWS_STORAGE_BUCKET_NAME,
            "region_name": environment.AWS_S3_REGION_NAME,
            "endpoint_url": _endpoint,
            # Without a key, boto3 asks the machine for its role.
            "access_key": environment.AWS_ACCESS_KEY_ID or None,
            "secret_key": environment.AWS_SECRET_ACCESS_KEY or None,
            "security_token": environment.AWS_SESSION_TOKEN or None,
            # Private: as the bucket says, and each address is signed and works for a while.
            "default_acl": None,
            "querystring_auth": True,
            "querystring_expire": environment.AWS_QUERYSTRING_EXPIRE,
            # A file whose name is taken gets another name.
            "file_overwrite": False,
            "client_config": Config(
                signature_version="s3v4",
                s3={"addressing_style": environment.AWS_S3_ADDRESSING_STYLE},
                # Checksums that AWS itself does not need are refused by other stores.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # Every wait has an end: by itself boto3 waits for minutes.
                connect_timeout=3,
                read_timeout=20,
                retries={"total_max_attempts": 3, "mode": "standard"},
            ),
        },
    }
    # Browsers load uploads from the bucket, and from no other bucket of the store.
    if environment.AWS_S3_ADDRESSING_STYLE == "path":
        _source = f"{_endpoint}/{environment.AWS_STORAGE_BUCKET_NAME}/"
    else:
        _source = _endpoint.replace("://", f"://{environment.AWS_STORAGE_BUCKET_NAME}.", 1)
    # @if django_version == "6.1"
    _directives = csp.SECURE_CSP
    # @else
    _directives = csp.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    # @endif
    _directives["img-src"] += [_source]
    _directives["media-src"] += [_source]
# @endif
