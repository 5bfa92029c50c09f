#!/usr/bin/env python3
"""A catcher of mail: SMTP on 1025, what came as JSON on 8025, at the addresses Mailpit has."""

from __future__ import annotations

import email
import email.policy
import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer

MESSAGES: list[dict[str, object]] = []


class Mail(StreamRequestHandler):
    """One conversation in SMTP."""

    def handle(self) -> None:
        """Take every message, for whomever it is."""
        self.say("220 a stand-in for Mailpit")
        recipients: list[str] = []
        while line := self.rfile.readline():
            words = line.decode().strip()
            verb = words[:4].upper()
            if verb == "RCPT":
                recipients.append(words.partition(":")[2].strip(" <>"))
            if verb == "DATA":
                self.say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                keep(b"".join(line.removeprefix(b".") for line in lines), recipients)
                recipients = []
            self.say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def say(self, line: str) -> None:
        """Answer one line."""
        self.wfile.write(f"{line}\r\n".encode())


def keep(content: bytes, recipients: list[str]) -> None:
    """Remember a message."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    body = message.get_body(("plain", "html"))
    MESSAGES.insert(
        0,
        {
            "From": {"Address": str(message["From"])},
            "To": [{"Address": address} for address in recipients],
            "Subject": str(message["Subject"]),
            "Snippet": body.get_content().strip()[:250] if body else "",
        },
    )


class Api(BaseHTTPRequestHandler):
    """The addresses that tests and health checks ask."""

    def do_GET(self) -> None:
        """Answer what came, newest first, or that all is well."""
        answers: dict[str, object] = {
            "/api/v1/messages": {"total": len(MESSAGES), "messages": MESSAGES},
            "/readyz": "ok",
            "/": "a stand-in for Mailpit",
        }
        path = self.path.partition("?")[0]
        self.send_response(200 if path in answers else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(path)).encode())


class MailServer(ThreadingTCPServer):
    """Takes mail from many at once."""

    allow_reuse_address = True
    daemon_threads = True


if sys.argv[1:] == ["readyz"]:
    urllib.request.urlopen("http://127.0.0.1:8025/readyz", timeout=5).close()
else:
    mail = MailServer(("", 1025), Mail)
    threading.Thread(target=mail.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("", 8025), Api).serve_forever()
