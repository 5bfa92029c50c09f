"""What production promises browsers: headers, cookies, HTTPS, forms and sessions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import HTTPS, cookies, deployed, sent, sign_in, with_laboratory
from tests.servers import browse, browser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers import PostgresServer, RedisServer
    from tests.service import GetService, Service, WebServer

YEAR = 31_536_000

# Pages of the admin, and what its scripts have put there: clocks, lists to choose from, links.
ADMIN = {
    "/admin/accounts/user/": "action-select",
    "/admin/accounts/user/1/change/": "datetimeshortcuts",
    "/admin/auth/group/add/": "selector-chosen",
}

# A page, a form, what is missing, and what fails.
PATHS = {"/": 200, "/admin/login/": 200, "/no/such/page/": 404, "/lab/fail/": 500}


@pytest.fixture(scope="module", params=["default", "pip"])
def laboratory(
    request: pytest.FixtureRequest, service: GetService, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Return a service with Django's own Content Security Policy, and one with django-csp's."""
    return with_laboratory(service(request.param), tmp_path_factory.mktemp("security") / "service")


@pytest.fixture(scope="module")
def env(laboratory: Service, postgres: PostgresServer, redis: RedisServer) -> Mapping[str, str]:
    """Return the environment of a deployed service."""
    return deployed(laboratory, postgres, redis)


@pytest.fixture(scope="module")
def server(laboratory: Service, env: Mapping[str, str]) -> Iterator[WebServer]:
    """Start the service behind a proxy that it trusts."""
    with laboratory.gunicorn(env) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_headers(server: WebServer, path: str) -> None:
    answer = server.get(path, secure=True)

    assert answer.status == PATHS[path]
    assert answer.headers["Strict-Transport-Security"] == f"max-age={YEAR}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "geolocation=()" in answer.headers["Permissions-Policy"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert len(answer.headers.get_all("Content-Security-Policy", [])) == 1
    assert answer.headers["Content-Security-Policy-Report-Only"] is None


def test_a_failure_tells_a_visitor_nothing(server: WebServer) -> None:
    answer = server.get("/lab/fail/", secure=True)

    assert "Something went wrong" in answer.text
    assert "RuntimeError" not in answer.text
    assert "Traceback" not in answer.text


def test_the_login_page_works_under_its_policy(server: WebServer) -> None:
    answer = server.get("/admin/login/", secure=True)
    policy = answer.headers["Content-Security-Policy"]
    scripts = re.findall(r"<(?:script|style)\b[^>]*>", answer.text)
    inline = [tag for tag in scripts if "src=" not in tag]
    nonces = set(re.findall(r'nonce="([^"]+)"', answer.text))

    assert scripts
    assert "onclick" not in answer.text
    assert " style=" not in answer.text
    # What is not a file of this service's own carries the nonce of this answer.
    assert all("nonce=" in tag for tag in inline)
    assert all(f"'nonce-{nonce}'" in policy for nonce in nonces)
    assert all(
        source.startswith("/static/") for source in re.findall(r'src="([^"]+)"', answer.text)
    )


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_a_browser_has_nothing_to_refuse_in_the_admin(
    service: GetService,
    postgres: PostgresServer,
    redis: RedisServer,
    tmp_path: Path,
    variant: str,
) -> None:
    # A browser keeps such cookies for HTTPS alone, which a test has not.
    settings = "".join(
        f'{name}_COOKIE_NAME = "{name}"\n{name}_COOKIE_SECURE = False\n'
        for name in ("SESSION", "CSRF")
    )
    laboratory = with_laboratory(service(variant), tmp_path / "service", settings=settings)
    env = deployed(laboratory, postgres, redis, SECURE_SSL_REDIRECT="0") | {
        "ALLOWED_HOSTS": "127.0.0.1"
    }
    with laboratory.gunicorn(env, workers=1) as server:
        server.get("/lab/enter/")
        rights = "is_staff=True, is_superuser=True"
        script = f"from accounts.models import User; User.objects.update({rights})"
        laboratory.manage("shell", "--command", script, env=env)
        with browser() as driver:
            for page, mark in ADMIN.items():
                assert browse(driver, server.url(f"/lab/enter/?page={page}"), mark)[1] == []
            _, said = browse(driver, server.url("/lab/inline/"), "<p>Page</p>")

    assert any("Content Security Policy" in line for line in said)


def test_a_nonce_is_used_once(laboratory: Service, server: WebServer) -> None:
    if laboratory.answers["django_version"] == "5.2":
        # This version's admin has no nonces, and a policy names one only where a page uses it.
        assert "nonce-" not in server.get("/admin/login/", secure=True).text
        return
    found = {
        re.findall(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"])[0]
        for answer in (server.get("/admin/login/", secure=True) for _ in range(5))
    }

    assert len(found) == 5


def test_plain_http_is_sent_to_https(server: WebServer) -> None:
    answer = server.get("/admin/login/?next=/admin/", headers={"Host": "yourdomain.com"})

    assert answer.status == 301
    assert answer.headers["Location"] == "https://yourdomain.com/admin/login/?next=/admin/"
    assert answer.headers["X-Request-ID"] is not None


def test_another_host_is_refused(server: WebServer) -> None:
    answer = server.get("/", headers={**HTTPS, "Host": "evil.example.com"})

    assert answer.status == 400
    assert "evil" not in answer.text
    assert "DisallowedHost" not in server.log  # nor in Sentry, which anybody could fill


def test_cookies_are_bound_to_this_host_and_to_https(server: WebServer) -> None:
    form = server.get("/admin/login/", secure=True)
    jar = cookies(form, server.get("/lab/enter/", secure=True, headers=sent(cookies(form))))

    assert set(jar) == {"__Host-sessionid", "__Host-csrftoken"}
    for morsel in jar.values():
        assert morsel["secure"]
        assert morsel["path"] == "/"
        assert morsel["domain"] == ""
        assert morsel["samesite"] == "Lax"
    assert jar["__Host-sessionid"]["httponly"]


def test_the_proxys_word_is_believed_only_when_asked(
    laboratory: Service, env: Mapping[str, str]
) -> None:
    with laboratory.gunicorn({**env, "TRUST_X_FORWARDED_PROTO": "0"}) as server:
        answer = server.get("/admin/login/", secure=True)

    assert answer.status == 301


def test_a_form_of_this_host_is_accepted(server: WebServer) -> None:
    answer = sign_in(server, origin="https://yourdomain.com")

    assert answer.status == 200
    assert "errornote" in answer.text


def test_a_form_of_a_trusted_origin_is_accepted(server: WebServer) -> None:
    # Trusted by CSRF_TRUSTED_ORIGINS alone: the form belongs to another host of this service.
    answer = sign_in(server, host="www.yourdomain.com")

    assert answer.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://yourdomain.com", "null"])
def test_a_form_of_any_other_origin_is_refused(server: WebServer, origin: str) -> None:
    answer = sign_in(server, origin=origin)

    assert answer.status == 403
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_sessions_survive_a_rotation_of_the_key(
    laboratory: Service, env: Mapping[str, str]
) -> None:
    former, fresh = env["SECRET_KEY"], "Xk93-" * 12
    with laboratory.gunicorn(env) as server:
        jar = cookies(server.get("/lab/enter/", secure=True))

    def known(**changes: str) -> bool:
        with laboratory.gunicorn({**env, **changes}) as server:
            answer = server.get("/lab/known/", secure=True, headers=sent(jar))
            return bool(answer.json()["known"])

    # The last one first: Django writes a session anew with the key that is in force.
    assert not known(SECRET_KEY=fresh)
    assert known(SECRET_KEY=former)


def test_a_former_key_keeps_sessions_alive(laboratory: Service, env: Mapping[str, str]) -> None:
    with laboratory.gunicorn(env) as server:
        jar = cookies(server.get("/lab/enter/", secure=True))

    rotated = {"SECRET_KEY": "Xk93-" * 12, "SECRET_KEY_FALLBACKS": env["SECRET_KEY"]}
    with laboratory.gunicorn({**env, **rotated}) as server:
        answer = server.get("/lab/known/", secure=True, headers=sent(jar))

    assert answer.json() == {"known": True}


def test_the_insistence_on_https_grows_when_asked(
    laboratory: Service, env: Mapping[str, str]
) -> None:
    more = {
        "SECURE_HSTS_SECONDS": "3600",
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": "1",
        "SECURE_HSTS_PRELOAD": "1",
    }
    with laboratory.gunicorn({**env, **more}) as server:
        answer = server.get("/", secure=True)

    assert answer.headers["Strict-Transport-Security"] == "max-age=3600; includeSubDomains; preload"


def test_https_can_be_left_to_the_proxy_alone(laboratory: Service, env: Mapping[str, str]) -> None:
    with laboratory.gunicorn({**env, "SECURE_SSL_REDIRECT": "0"}) as server:
        answer = server.get("/", headers={"Host": "yourdomain.com"})

    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"] is None
