"""`make smoke`: it is content with a service that is well, and finds what is wrong with another."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import free_port, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rendering import Render

# What was said, line by line, and the exit code.
Smoke = tuple[list[str], int]

STATIC = "/static/admin/base.0a1b2c.css"
TOKEN = "tokentokentoken"
FORM = f'<input type="hidden" name="csrfmiddlewaretoken" value="{TOKEN}">'


@dataclass(frozen=True)
class Answers:
    """What a service answers: by default, all is well."""

    health: int = 200
    ready: int = 200
    missing: int = 404
    missing_says: str = "Not found"
    page: str = f'<link href="{STATIC}">{FORM}'
    static: int = 200
    caching: str = "max-age=315360000, public, immutable"
    cookie: str = f"csrftoken={TOKEN}; Path=/; SameSite=Lax; Secure"
    without_token: int = 403
    with_token: int = 200
    insists: str = "max-age=31536000; includeSubDomains"
    plain: int = 301
    leads_to: str = "https://127.0.0.1/health/"


class Handler(BaseHTTPRequestHandler):
    """Answers as its class's `answers` say."""

    answers = Answers()
    secure = True

    def do_GET(self) -> None:
        """Answer a page, a probe or a file."""
        says = self.answers
        if not self.secure:
            self.answer(says.plain, "", Location=says.leads_to)
        elif self.path in {"/health/", "/ready/"}:
            self.answer(says.health if self.path == "/health/" else says.ready, "{}")
        elif self.path == STATIC:
            self.answer(says.static, "a {}", Cache_Control=says.caching)
        elif self.path in {"/", "/admin/login/"}:
            self.answer(
                200, says.page, Set_Cookie=says.cookie, Strict_Transport_Security=says.insists
            )
        else:
            self.answer(says.missing, says.missing_says)

    def do_POST(self) -> None:
        """Answer a form, which comes with the cookie and the token or without them."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        whole = f"csrfmiddlewaretoken={TOKEN}" in body and TOKEN in self.headers.get("Cookie", "")
        self.answer(self.answers.with_token if whole else self.answers.without_token, "")

    def answer(self, status: int, text: str, **headers: str) -> None:
        """Send an answer; a header without a value is left out."""
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening(port: int, answers: Answers, certificate: Path | None = None) -> Iterator[None]:
    """Answer on a port, by HTTPS where there is a certificate."""
    handler = type("Handler", (Handler,), {"answers": answers, "secure": certificate is not None})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for 127.0.0.1, with its key."""
    file = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    make_certificate(file)
    return file


@pytest.fixture
def smoke(render: Render, tmp_path: Path, certificate: Path) -> Callable[[Answers], Smoke]:
    """Return what the script of a server says of a service that answers so, and its exit code."""
    script = tmp_path / "scripts/deploy.py"
    script.parent.mkdir()
    shutil.copy(render() / "scripts/deploy.py", script)
    port, plain_port = free_port(), free_port()
    (tmp_path / ".env").write_text(
        f"DOMAIN=127.0.0.1\nTLS=ops@example.com\nHTTPS_PORT=127.0.0.1:{port}\n"
        f"HTTP_PORT=127.0.0.1:{plain_port}\n",
        encoding="utf-8",
    )

    def ask(answers: Answers) -> Smoke:
        with listening(port, answers, certificate), listening(plain_port, answers):
            done = subprocess.run(
                [sys.executable, script, "smoke"],
                env={"SSL_CERT_FILE": str(certificate)},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        return done.stderr.splitlines(), done.returncode

    return ask


def test_a_service_that_is_well_passes_in_every_point(smoke: Callable[[Answers], Smoke]) -> None:
    lines, code = smoke(Answers())

    assert [line.split()[0] for line in lines] == ["Asking", *["ok"] * 5], lines
    assert code == 0


@pytest.mark.parametrize(
    ("point", "fault", "sentence"),
    [
        ("probes", {"health": 500}, "/health/ answers 500: {}"),
        ("probes", {"ready": 503}, "/ready/ answers 503: {}"),
        ("DEBUG", {"missing_says": "because you have <code>DEBUG = True</code>"},
         "A page that is not there shows settings or a traceback."),
        ("DEBUG", {"missing_says": "Traceback (most recent call last)"},
         "A page that is not there shows settings or a traceback."),
        ("DEBUG", {"missing": 500}, "An address that cannot exist answers 500 instead of 404."),
        ("static", {"page": FORM},
         "Neither / nor /admin/login/ refers to a file below /static/."),
        ("static", {"static": 404}, f"{STATIC} answers 404 instead of 200."),
        ("static", {"caching": "max-age=60"}, f"{STATIC} is not kept for ever: its name has no"),
        ("static", {"caching": ""}, f"{STATIC} is not kept for ever: its name has no hash."),
        ("CSRF", {"cookie": ""}, "/admin/login/ has no token against forged forms."),
        ("CSRF", {"page": f'<link href="{STATIC}">'}, "/admin/login/ has no token against forged"),
        ("CSRF", {"cookie": f"csrftoken={TOKEN}; Path=/"},
         "The cookie of the token goes over plain HTTP, too."),
        ("CSRF", {"without_token": 200},
         "/admin/login/ without a token answers 200 instead of 403."),
        ("CSRF", {"with_token": 403}, "/admin/login/ with a token answers 403 instead of 200."),
        ("HTTPS", {"plain": 200}, "Plain HTTP answers 200 and does not lead to HTTPS."),
        ("HTTPS", {"leads_to": "http://127.0.0.1/health/"},
         "Plain HTTP answers 301 and does not lead to HTTPS."),
        ("HTTPS", {"insists": ""}, "No Strict-Transport-Security lets browsers insist on HTTPS."),
        ("HTTPS", {"insists": "max-age=0"},
         "No Strict-Transport-Security lets browsers insist on HTTPS."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_and_nothing_else(
    smoke: Callable[[Answers], Smoke], point: str, fault: dict[str, Any], sentence: str
) -> None:
    lines, code = smoke(Answers(**fault))

    wrong = [number for number, line in enumerate(lines) if line.startswith("WRONG")]
    assert len(wrong) == 1, lines
    assert lines[wrong[0]].startswith(f"WRONG  {point}")
    assert lines[wrong[0] + 1].strip().startswith(sentence)
    assert sum(line.startswith("ok ") for line in lines) == 4
    assert code == 1
