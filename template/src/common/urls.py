"""The probes' addresses. Maintained by the template: add your own in the project's urls.py."""

from django.urls import path

from .views import health

urlpatterns = [
    path("health/", health.liveness, name="health"),
    path("ready/", health.readiness, name="ready"),
]
