"""Checks that name lost hardening. Maintained by the template: silence in settings/base.py.

https://docs.djangoproject.com/en/{@ django_version @}/topics/checks/
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register

_HEALTH = "common.middleware.HealthMiddleware"
_SECURITY = "django.middleware.security.SecurityMiddleware"
_WHITENOISE = "whitenoise.middleware.WhiteNoiseMiddleware"
_PROTECTING = [
    _SECURITY,
    # @if django_version == "6.1"
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    # @else
    "csp.middleware.CSPMiddleware",
    # @endif
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


@register(Tags.compatibility)
def check_middleware_order(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Return errors when probes or static files no longer come before what would refuse them."""
    order = settings.MIDDLEWARE
    errors: list[CheckMessage] = []
    if order[:1] != [_HEALTH]:
        errors.append(
            checks.Error(
                "HealthMiddleware is not the first of MIDDLEWARE: probes by IP address get 400.",
                hint="Put your own middleware behind it in settings/base.py.",
                id="common.E001",
            )
        )
    if _WHITENOISE in order and order[order.index(_WHITENOISE) - 1] != _SECURITY:
        errors.append(
            checks.Error(
                "WhiteNoiseMiddleware does not stand directly after SecurityMiddleware.",
                hint="Put your own middleware behind both in settings/base.py.",
                id="common.E002",
            )
        )
    return errors


@register(Tags.security, deploy=True)
def check_hardening(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning for each protection of the defaults that the settings took away."""
    warnings: list[CheckMessage] = [
        checks.Warning(f"{path} is missing from MIDDLEWARE.", id="common.W001")
        for path in _PROTECTING
        if path not in settings.MIDDLEWARE
    ]
    if sources_of(_policy()) & {"'unsafe-inline'", "'unsafe-eval'"}:
        warnings.append(
            checks.Warning(
                "The Content Security Policy allows unsafe-inline or unsafe-eval.",
                hint="Give the script or style the request's nonce: {{ csp_nonce }}.",
                id="common.W002",
            )
        )
    warnings += [
        checks.Warning(
            f"{name} has no __Host- or __Secure- prefix, so that other hosts can set the cookie.",
            id="common.W003",
        )
        for name in ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME")
        if not getattr(settings, name).startswith(("__Host-", "__Secure-"))
    ]
    if settings.LOGGING.get("disable_existing_loggers", True):
        warnings.append(
            checks.Warning(
                "LOGGING disables existing loggers: errors of Django and the server go dark.",
                hint='Set LOGGING["disable_existing_loggers"] = False.',
                id="common.W004",
            )
        )
    return warnings


def sources_of(policy: Mapping[str, object]) -> set[object]:
    """Return the sources of all directives; one needs no list, and some directives are flags."""
    found: set[object] = set()
    for sources in policy.values():
        found.update(sources if isinstance(sources, list | tuple | set) else [sources])
    return found


def _policy() -> Mapping[str, object]:
    # @if django_version == "6.1"
    policy: Mapping[str, object] = settings.SECURE_CSP
    # @else
    found = getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}
    policy: Mapping[str, object] = found.get("DIRECTIVES", {})
    # @endif
    return policy
