"""The probes' addresses. Maintained by the template: add your own in the project's urls.py."""

# @if media_storage != "none"
from django.conf import settings
from django.conf.urls.static import static
# @endif
from django.urls import path

from .views import health

urlpatterns = [
    path("health/", health.liveness, name="health"),
    path("ready/", health.readiness, name="ready"),
    # @if media_storage != "none"
    # Uploads, in development alone.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
    # @endif
]
