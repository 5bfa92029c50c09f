"""The system checks that guard hardening. Maintained by the template.

They hold whatever this project has set: what is checked is given by the test.
"""

from pytest_django import Settings

from common.checks import check_hardening, check_middleware_order, sources_of

HEALTH = "common.middleware.HealthMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
WHITENOISE = "whitenoise.middleware.WhiteNoiseMiddleware"


def ids(messages: list[object]) -> list[object]:
    return [getattr(message, "id", None) for message in messages]


def test_the_middleware_is_in_order(settings: Settings) -> None:
    settings.MIDDLEWARE = [HEALTH, "a.Middleware", SECURITY, WHITENOISE]

    assert check_middleware_order(None) == []


def test_middleware_above_the_probes_is_an_error(settings: Settings) -> None:
    settings.MIDDLEWARE = ["a.Middleware", HEALTH]

    assert ids([*check_middleware_order(None)]) == ["common.E001"]


def test_middleware_between_security_and_static_files_is_an_error(
    settings: Settings,
) -> None:
    settings.MIDDLEWARE = [HEALTH, SECURITY, "a.Middleware", WHITENOISE]

    assert ids([*check_middleware_order(None)]) == ["common.E002"]


def test_a_removed_protection_is_named(settings: Settings) -> None:
    settings.MIDDLEWARE = []

    said = [message.msg for message in check_hardening(None)]

    assert "django.middleware.csrf.CsrfViewMiddleware is missing from MIDDLEWARE." in said


def test_a_directive_may_be_a_flag_or_one_source() -> None:
    policy = {
        "upgrade-insecure-requests": True,
        "script-src": "'unsafe-inline'",
        "img-src": ["'self'"],
    }

    assert sources_of(policy) == {True, "'unsafe-inline'", "'self'"}


def test_cookie_names_that_are_open_to_other_hosts_are_named(settings: Settings) -> None:
    settings.SESSION_COOKIE_NAME = "sessionid"
    settings.CSRF_COOKIE_NAME = "csrftoken"

    assert ids([*check_hardening(None)]).count("common.W003") == 2


def test_cookie_names_that_are_this_hosts_alone_are_fine(settings: Settings) -> None:
    settings.SESSION_COOKIE_NAME = "__Host-sessionid"
    settings.CSRF_COOKIE_NAME = "__Host-csrftoken"

    assert "common.W003" not in ids([*check_hardening(None)])


def test_silent_loggers_are_named(settings: Settings) -> None:
    settings.LOGGING = {"version": 1}

    assert "common.W004" in ids([*check_hardening(None)])
