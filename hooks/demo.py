"""Show the template at work: copy it with every default, set the copy up, and serve it.

    python3 hooks/demo.py FOLDER PORT

Runs with the standard library, and with `copier` and `make` on PATH; `make demo` calls it. The
service is FOLDER/my-service and stays up until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
MARK = ".shipshape-demo"  # a folder with this file in it is an earlier demo and may be replaced
START_SECONDS = 60
HIGHEST_PORT = 65535


class DemoError(Exception):
    """The demo cannot go on; the message is the sentence that the reader gets."""


def main(folder: str, port: str) -> int:
    """Run the demo and return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C, so that the server ends too
    try:
        with foreground():
            chosen = port_number(port)
            serve(make_project(Path(folder).absolute(), chosen), chosen)
    except (DemoError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo has ended.")
    return 0


def port_number(text: str) -> int:
    """Return the port that a text names; raise DemoError when it names none."""
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        raise DemoError(
            f"{text} is no port: choose one from 1 to {HIGHEST_PORT}, as in `make demo PORT=8001`."
        )
    return int(text)


def make_project(folder: Path, port: int) -> Path:
    """Copy the work tree with every default into FOLDER/my-service and bootstrap it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(
                f"Port {port} cannot be served ({error.strerror}): choose another,"
                f" such as `make demo PORT={port + 1}`."
            ) from None
    if folder.exists():
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise DemoError(f"{folder} holds something else: choose another DEMO_DIR.")
        print(f"The demo that was in {folder} before is replaced.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    project = folder / "my-service"
    # HEAD: the template as it is here, changes that are not committed included.
    run("copier", "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", str(ROOT), str(project))
    run("make", "--no-print-directory", "-C", str(project), "setup")
    return project


def serve(project: Path, port: int) -> None:
    """Run `make run` in the project until Ctrl-C, and show where to look once it is ready."""
    log = project.with_name("server.log")
    command = ["make", "--no-print-directory", "-C", str(project), "run", f"PORT={port}"]
    print(shlex.join(command), flush=True)
    with log.open("wb") as file:
        # A session of its own: Ctrl-C comes here alone, and the server is ended below.
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}/ready/", server, log)
        print(f"\n{url}/            the service\n{url}/admin/      Django's admin")
        folder = shlex.quote(str(project))
        print(f"An account for it: cd {folder} && .venv/bin/python manage.py createsuperuser\n")
        for path in ("/health/", "/ready/"):
            print(f"{url}{path:<12} {fetch(f'{url}{path}')}")
        print(f"\nIts log is {log}; Ctrl-C ends it.", flush=True)
        code = server.wait()
        raise DemoError(f"The server has ended with exit code {code}; its log is {log}.")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a URL answers with status 200; raise DemoError when it does not in time."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            fetch(url)
            return
        time.sleep(0.1)
    text = log.read_text(encoding="utf-8", errors="replace")
    raise DemoError(f"{text}\n{url} did not answer within {START_SECONDS} s; see {log}.")


def fetch(url: str) -> str:
    """Return the body of a URL; raises URLError for anything but success."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  always http
        return str(answer.read().decode())


def run(*command: str) -> None:
    """Run a command, shown, with its output; a failure ends the demo."""
    print(shlex.join(command), flush=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        raise DemoError(f"`{shlex.join(command)}` failed with exit code {code}.")


@contextlib.contextmanager
def foreground() -> Iterator[None]:
    """Have Ctrl-C come to this program and not to the `make` around it.

    Ctrl-C goes to the terminal's foreground group. `make`, which is in it too, would report an
    error for what is the ordinary end of a demo.
    """
    if not sys.stdin.isatty() or os.tcgetpgrp(0) != os.getpgrp():
        yield  # no terminal, or run in its background: whoever ends it sends a signal
        return
    before = os.getpgrp()
    # A background group may not change the terminal's foreground, unless it ignores this signal.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(0, before)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
