"""The repository's own commands, in a clean clone on a machine that has only what Debian has."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from tests.rendering import ROOT, take_snapshot
from tests.servers import Process, answers_http, free_port, http_request, missing

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

# What a fresh Debian with git, make and Python does not have.
NOT_INSTALLED = re.compile(
    r"(.*-)?(gcc|g\+\+|cc|c\+\+|clang|cpp)(-\d+)?|c[89]9-gcc|pg_config|psql|uv|uvx|copier|redis-.*"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clean clone of the work tree as it is now."""
    folder = tmp_path_factory.mktemp("commands")
    take_snapshot(folder / "origin")
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*identity, "commit", "--quiet", "--message", "Work tree"],
        ["clone", "--quiet", ".", str(folder / "shipshape")],
    ):
        subprocess.run(["git", *command], cwd=folder / "origin", check=True)
    return folder / "shipshape"


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a machine without a compiler and without uv.

    Package caches are warm, and pyenv has the Python of the default answers, as the tests must not
    depend on a download of it.
    """
    with_pip = ["/usr/bin/python3", "-m", "pip", "--version"]
    if subprocess.run(with_pip, capture_output=True, check=False).returncode:
        missing("/usr/bin/python3 has no pip")
    programs = tmp_path_factory.mktemp("debian")
    for folder in (Path("/usr/bin"), Path("/bin")):
        for program in folder.iterdir():
            link = programs / program.name
            if not NOT_INSTALLED.fullmatch(program.name) and not link.is_symlink():
                link.symlink_to(program)
    home, pyenv = Path.home(), tmp_path_factory.mktemp("pyenv")
    find = [sys.executable, "hooks/bootstrap.py", "find-python", "3.13"]
    python = subprocess.check_output(find, cwd=ROOT, text=True).strip()
    (pyenv / "versions" / "3.13.0" / "bin").mkdir(parents=True)
    (pyenv / "versions" / "3.13.0" / "bin" / "python3.13").symlink_to(python)
    inherited = r"(PIP|SSL|UV|https?|HTTPS?|no|NO)_.*|(REQUESTS|CURL)_CA_BUNDLE"
    return {
        **{name: value for name, value in os.environ.items() if re.fullmatch(inherited, name)},
        "PATH": str(programs),
        "HOME": str(tmp_path_factory.mktemp("home")),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(home / ".cache/pip")),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(home / ".cache/uv")),
        "PYENV_ROOT": str(pyenv),
        "COPIER_SETTINGS_PATH": os.environ["COPIER_SETTINGS_PATH"],
    }


class Terminal:
    """A command at a terminal of its own, on which keys can be pressed."""

    def __init__(self, *command: str, cwd: Path, env: dict[str, str]) -> None:
        self.shown = ""
        self._code: int | None = None
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, env)  # noqa: S606  as a shell starts a command

    def read_until(self, text: str, *, seconds: float) -> None:
        """Return when the screen has shown a text; fail when the command ends before."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"no {text!r} in {seconds} s:\n{self.shown}"
            assert self._read(), f"no {text!r}:\n{self.shown}"

    def press(self, keys: str) -> None:
        """Type at the terminal."""
        os.write(self._terminal, keys.encode())

    def wait(self, *, seconds: float = 30) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.shown
        self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def __enter__(self) -> Self:
        """Give the terminal to the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the terminal, and end what still runs at it: some of it may wait for a Ctrl-C."""
        if self._code is None:
            command = psutil.Process(self.pid)
            for process in [command, *command.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # how Linux tells that the last program at the terminal has ended
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_make_demo_serves_every_default_without_a_compiler(
    clone: Path,
    debian: dict[str, str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    port, folder = free_port(), tmp_path / "demo"
    command = ("make", "demo", f"PORT={port}", f"DEMO_DIR={folder}")
    started = time.monotonic()
    with Terminal(*command, cwd=clone, env=debian) as terminal:
        terminal.read_until("Ctrl-C ends it.", seconds=300)
        seconds = time.monotonic() - started
        record_property("figure", f"make demo, from a clean clone to /ready/: {seconds:.1f} s")

        url = f"http://127.0.0.1:{port}"
        for path in ("/", "/admin/login/", "/health/", "/ready/"):
            assert http_request(url + path).status == 200
        checks = '"checks": {"database": true, "cache": true}'
        for said in (
            f"{url}/admin/",
            '{"status": "healthy", "service": "my-service", "version": "0.1.0"}',
            f'{{"status": "ready", {checks}, "service": "my-service"}}',
        ):
            assert said in terminal.shown
        assert (folder / "my-service" / "db.sqlite3").exists()
        # uv came from the package index, as a fresh machine has none.
        assert "pip install" in terminal.shown

        terminal.press("\x03")
        assert terminal.wait() == 0
        assert terminal.shown.rstrip().endswith("The demo has ended.")
        assert not listens(port)


def test_an_earlier_demo_is_replaced_and_a_signal_ends_it_all(
    clone: Path, debian: dict[str, str], tmp_path: Path
) -> None:
    port, folder = free_port(), tmp_path / "demo"
    folder.mkdir()
    (folder / ".shipshape-demo").touch()
    (folder / "my-service").mkdir()
    (folder / "my-service" / "leftover").touch()
    command = ["make", "demo", f"PORT={port}", f"DEMO_DIR={folder}"]
    with Process(command, log=tmp_path / "log", cwd=clone, env=debian) as process:
        process.wait_for_log("Ctrl-C ends it.", seconds=300)
        assert "is replaced" in process.log
        assert not (folder / "my-service" / "leftover").exists()
        assert answers_http(f"http://127.0.0.1:{port}/ready/")
        process.stop()
    deadline = time.monotonic() + 10
    while listens(port):  # make does not wait for what it has passed the signal on to
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run(*command: str, cwd: Path, env: dict[str, str], code: int = 0) -> str:
    """Run a command, which must end with this exit code, and return what it says."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Process(command, log=Path(folder) / "log", cwd=cwd, env=env) as process,
    ):
        ended = process.wait(seconds=120)
        assert ended == code, process.log
        return process.log


def test_a_port_that_is_taken_is_named_before_anything_is_made(
    clone: Path, debian: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ("make", "demo", f"PORT={port}", f"DEMO_DIR={tmp_path / 'demo'}")
        said = run(*command, cwd=clone, env=debian, code=2)
    assert f"Port {port} cannot be served (Address already in use)" in said
    assert "Traceback" not in said
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("port", ["99999", "abc", "0", "-1"])
def test_what_is_no_port_is_told(tmp_path: Path, port: str) -> None:
    command = [sys.executable, str(ROOT / "hooks/demo.py"), str(tmp_path / "demo"), port]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == (
        f"{port} is no port: choose one from 1 to 65535, as in `make demo PORT=8001`.\n"
    )


def test_a_folder_that_is_no_demo_is_never_replaced(
    clone: Path, debian: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").touch()
    command = ("make", "demo", f"PORT={free_port()}", f"DEMO_DIR={tmp_path / 'work'}")
    assert f"{tmp_path / 'work'} holds something else" in run(
        *command, cwd=clone, env=debian, code=2
    )
    assert (tmp_path / "work" / "file").exists()


def test_make_render_gives_the_variant_that_is_asked_for(
    clone: Path, debian: dict[str, str]
) -> None:
    for broker in ("rabbitmq", "redis"):
        answers = f"ANSWERS=license=MIT broker={broker}"
        run("make", "render", answers, cwd=clone, env=debian)
        recorded = (clone / "rendered" / ".copier-answers.yml").read_text(encoding="utf-8")
        assert f"broker: {broker}" in recorded
        assert "license: MIT" in recorded
    status = subprocess.check_output(["git", "status", "--porcelain"], cwd=clone, text=True)
    assert status == ""


def test_make_without_a_target_lists_the_commands(clone: Path, debian: dict[str, str]) -> None:
    listed = [line.split()[0] for line in run("make", cwd=clone, env=debian).splitlines()]
    makefile = (clone / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"(?m)^\.PHONY: (.*)$", makefile)
    assert sorted(listed) == sorted(" ".join(phony).split())
    assert {"setup", "demo", "test"} <= set(listed)


def test_a_machine_without_python_is_told_what_to_install(
    clone: Path, debian: dict[str, str], tmp_path: Path
) -> None:
    for name in ("make", "sh"):
        (tmp_path / name).symlink_to(Path(debian["PATH"]) / name)
    makefile = (clone / "Makefile").read_text(encoding="utf-8").replace("/usr/bin/python3", "")
    (tmp_path / "Makefile").write_text(makefile)
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).touch()
    said = run("make", "setup", cwd=tmp_path, env={"PATH": str(tmp_path)}, code=2)
    assert "Python 3 is missing: install it" in said


def test_the_repository_is_formatted_linted_and_typed() -> None:
    run("make", "lint", cwd=ROOT, env=dict(os.environ))


def test_ci_installs_what_is_missing_and_runs_every_test(
    clone: Path, debian: dict[str, str], tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    script = f'#!/bin/sh\necho "$(basename "$0") $* CI=$CI stdin=$(cat)" >> {asked}\n'
    shutil.copytree(clone / ".ci", tmp_path / "tree/.ci")
    for path in ("apt-get", "make", "tree/.ci/docker"):
        (tmp_path / path).write_text(script)
        (tmp_path / path).chmod(0o755)
    env = {**debian, "PATH": f"{tmp_path}:{debian['PATH']}"}
    subprocess.run([".ci/run"], cwd=tmp_path / "tree", env=env, input=b"typed", check=True)
    lines = asked.read_text().splitlines()
    assert lines[-1] == "make linters test CI=true stdin="
    assert lines[-2].startswith("docker")
    assert lines[-4].startswith("apt-get update")
    assert {"gcc", "libpq-dev", "redis-server", "redis-tools"} <= set(lines[-3].split())
    assert "git" not in lines[-3].split()
