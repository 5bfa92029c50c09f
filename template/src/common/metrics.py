"""Metrics of requests, for Prometheus. Maintained by the template: count your own in your apps.

Loaded with METRICS_PORT alone, by MIDDLEWARE and gunicorn.conf.py. Each worker counts in files that
all share, so that whichever of them is asked answers for all.
https://prometheus.github.io/client_python/multiprocess/
"""

import os
from collections.abc import Callable
from time import perf_counter

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotFound
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# The number of this worker among those that run now, which gunicorn.conf.py sets. One that takes
# the place of another goes on with its files: named after processes, they would grow in number.
worker = 0

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]  # it has no types
        lambda: worker
    )

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUESTS = Counter(
    "http_requests", "Requests that were answered.", labelnames=["view", "method", "status"]
)
_DURATION = Histogram(
    "http_request_duration_seconds",
    "Seconds from a request to its response.",
    labelnames=["view", "method"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class MetricsMiddleware:
    """Count requests and their seconds, and serve /metrics on a port of its own.

    That port serves nothing else but the probes, and no other port serves metrics: the proxy does
    not know it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.port = str(settings.METRICS_PORT)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Hand the request on, and count it; or answer with what was counted."""
        # That of the socket, whatever the client claims.
        if request.META.get("SERVER_PORT") == self.port:
            return _serve(request)
        started = perf_counter()
        response = self.get_response(request)
        seconds = perf_counter() - started
        # Names, not addresses: as many series as there are views, whatever clients ask for.
        match = request.resolver_match
        view = match.view_name if match else "none"
        method = request.method if request.method in _METHODS else "other"
        _REQUESTS.labels(view, method, f"{response.status_code // 100}xx").inc()
        _DURATION.labels(view, method).observe(seconds)
        return response


def _serve(request: HttpRequest) -> HttpResponse:
    if request.path_info != "/metrics":
        return HttpResponseNotFound()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
