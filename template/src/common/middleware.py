"""Probes and request ids. Maintained by the template: add to MIDDLEWARE in settings/base.py."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponseBase

from .logging import request_id
from .views import health

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# Long enough for a UUID or a trace id, and nothing that could forge a line of a log.
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_PROBES = {
    "/health": health.liveness,
    "/health/": health.liveness,
    "/ready": health.readiness,
    "/ready/": health.readiness,
}


class HealthMiddleware:
    """Answer the probes before anything asks for a host name, HTTPS, a session or a database.

    A probe of Kubernetes or of a load balancer comes to the pod's IP address by plain HTTP; the
    middleware below would answer 400 (ALLOWED_HOSTS) or 301 (SECURE_SSL_REDIRECT).
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a probe, or hand the request on."""
        probe = _PROBES.get(request.path_info)
        return probe(request) if probe else self.get_response(request)


class RequestIdMiddleware:
    """Give each request an id: the caller's X-Request-ID, or a new one, in logs and response."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Hand the request on with its id set for all that happens meanwhile."""
        given = request.headers.get("X-Request-ID", "")
        current = given if _ACCEPTABLE_ID.fullmatch(given) else uuid4().hex
        token = request_id.set(current)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
        response.headers["X-Request-ID"] = current
        return response
