"""A rendered project, installed: how tests run its commands, its web server and its workers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from tests.servers import Process, Response, answers_http, free_port, http_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.rendering import SharedFolders

# What the seed of the settings needs in production; required URLs are added to it.
SEED_ENVIRONMENT = {
    "DEBUG": "0",
    "ALLOWED_HOSTS": "yourdomain.com,www.yourdomain.com",
    "CSRF_TRUSTED_ORIGINS": "https://yourdomain.com",
    "SECRET_KEY": "w7Jq2ZkXb9-RtY4nLm8_VcS1dFgH6pQe0aUiOoPzKxTyN3B5jG",
}

# What production needs beside it for each place of uploads; a service starts without asking there.
MEDIA_ENVIRONMENT = {
    "none": {},
    "local": {"MEDIA_ROOT": "/nowhere"},
    "s3": {"AWS_STORAGE_BUCKET_NAME": "uploads"},
}


class GetService(Protocol):
    """The name of a variant in, its installed service out."""

    def __call__(self, variant: str = "default", *, add: Sequence[str] = ()) -> Service:
        """Return the service; `add` are packages that the team has added."""


class CommandError(Exception):
    """A command failed; the message ends with its output."""


@dataclass(frozen=True)
class Service:
    """A rendered project with an environment in which it is installed.

    Nothing of the developer's shell reaches what it runs: the environment is built from scratch.
    """

    path: Path
    python: Path
    answers: Mapping[str, Any]
    variables: Mapping[str, str]  # what every command gets

    @property
    def package(self) -> str:
        """The name of the project's package."""
        return str(self.answers["package_name"])

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        seconds: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder, programs of its environment first.

        `env` adds variables. Without `check` a failure is returned, not raised as CommandError.
        """
        # `subprocess` looks the program up on the PATH of the tests, not on the one it passes.
        program = shutil.which(command[0], path=self.variables["PATH"]) or command[0]
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.path,
            env={**self.variables, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise CommandError(
                f"`{' '.join(command)}` in {self.path} ended with exit code {done.returncode}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def manage(
        self,
        *arguments: str,
        settings: str = "production",
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python manage.py …` with the settings of an environment."""
        variables = {"DJANGO_SETTINGS_MODULE": f"{self.package}.settings.{settings}", **(env or {})}
        return self.run("python", "manage.py", *arguments, env=variables, check=check)

    def production_env(
        self, *, database_url: str, cache_url: str, broker_url: str | None = None, **more: str
    ) -> dict[str, str]:
        """Return all that production needs, and `more` variables by name."""
        return {
            **SEED_ENVIRONMENT,
            **MEDIA_ENVIRONMENT[self.answers["media_storage"]],
            "DJANGO_SETTINGS_MODULE": f"{self.package}.settings.production",
            "DATABASE_URL": database_url,
            "CACHE_URL": cache_url,
            **({"CELERY_BROKER_URL": broker_url} if broker_url else {}),
            **more,
        }

    def gunicorn(self, env: Mapping[str, str], **options: str | int) -> WebServer:
        """Start the web server and wait until it answers, to be used as a context manager.

        `options` become GUNICORN_…, as in `gunicorn(env, worker_class="sync", workers=2)`. The
        database is migrated and static files are collected by the test that needs them.
        """
        chosen = {f"GUNICORN_{name.upper()}": str(value) for name, value in options.items()}
        server = WebServer(self, {"GUNICORN_WORKERS": "2", **chosen, **env})
        try:
            server.wait_until(lambda: answers_http(server.url("/health/")), "it answered")
        except BaseException:
            server.kill()
            raise
        return server

    def celery_worker(self, env: Mapping[str, str], *options: str) -> Process:
        """Start a Celery worker and wait until it is ready, to be used as a context manager."""
        return self._celery(env, "worker", "ready.", *options)

    def celery_beat(self, env: Mapping[str, str], *options: str) -> Process:
        """Start Celery's scheduler, to be used as a context manager."""
        schedule = self.path / f"celerybeat-schedule-{free_port()}"
        return self._celery(env, "beat", "beat: Starting...", f"--schedule={schedule}", *options)

    def start(self, *command: str, env: Mapping[str, str], log: str) -> Process:
        """Start a command that goes on, its output in the file `log` beside the project."""
        program = shutil.which(command[0], path=self.variables["PATH"]) or command[0]
        return Process(
            [program, *command[1:]],
            log=self.path.with_name(f"{self.path.name}-{log}-{free_port()}.log"),
            cwd=self.path,
            env={**self.variables, **env},
        )

    def _celery(self, env: Mapping[str, str], role: str, ready: str, *options: str) -> Process:
        command = ("celery", "--app", self.package, role, "--loglevel", "INFO", *options)
        process = self.start(*command, env=env, log=role)
        try:
            process.wait_for_log(ready, seconds=60)
        except BaseException:
            process.kill()
            raise
        return process

    def copy(self, target: Path) -> Service:
        """Copy the project to a folder that a test may change, as when it adds an app.

        The environment is the same. It holds the path of the first project, which is installed
        editable, so the copy is put before that one by PYTHONPATH: as good as a second
        installation, which takes two seconds, but that a module which is removed from the copy is
        still found in the first project.
        """
        shutil.copytree(self.path, target, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        return self.with_code(target)

    def with_code(self, project: Path) -> Service:
        """Return the service with the code of another folder, put before its own as above."""
        variables = {**self.variables, "PYTHONPATH": str(project / "src")}
        return dataclasses.replace(self, path=project, variables=variables)


class WebServer(Process):
    """A running gunicorn."""

    def __init__(self, service: Service, env: Mapping[str, str]) -> None:
        self.port = free_port()
        application = f"{service.package}.wsgi:application"
        super().__init__(
            [service.python.with_name("gunicorn"), "--config", "gunicorn.conf.py", application],
            log=service.path.with_name(f"{service.path.name}-gunicorn-{self.port}.log"),
            cwd=service.path,
            env={**service.variables, "HOST": "127.0.0.1", "PORT": str(self.port), **env},
        )

    def url(self, path: str) -> str:
        """Return the URL of a path on this server."""
        return f"http://127.0.0.1:{self.port}{path}"

    def get(
        self,
        path: str,
        *,
        secure: bool = False,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        seconds: float = 10,
    ) -> Response:
        """Request a path, by address or, when `secure`, as the proxy of yourdomain.com does.

        The latter is believed by a service that runs with SECURE_PROXY_SSL_HEADER switched on.
        """
        proxied = {"Host": "yourdomain.com", "X-Forwarded-Proto": "https"} if secure else {}
        return http_request(
            self.url(path), method=method, headers={**proxied, **(headers or {})}, seconds=seconds
        )


def build_production(
    folders: SharedFolders, tree: Path, target: Path, *, add: Sequence[str]
) -> None:
    """Copy a rendered tree and install it as an image does: without development dependencies."""
    shutil.copytree(tree, target)
    bootstrap = Bootstrap(target, folders)
    requirements = target / "requirements"
    uv, python = bootstrap.find("find-uv"), bootstrap.find("find-python", wanted_python(target))
    if requirements.is_dir():
        with (requirements / "project.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"{package}\n" for package in add)
        bootstrap.run("--upgrade")
        pip = (".venv/bin/python", "-m", "pip", "install", "--quiet")
        bootstrap.call(python, "-m", "venv", ".venv")
        bootstrap.call(*pip, "--require-hashes", "-r", "requirements/production.lock.txt")
        bootstrap.call(*pip, "--no-deps", "--editable", ".")
        return
    # One after the other: the first compiles the driver, and the others find it in uv's cache.
    with folders.exclusive("uv"):
        if add:
            bootstrap.resolve(uv, "add", "--python", python, "--no-sync", *add)
        bootstrap.run("--upgrade")
        groups = ("--no-default-groups", "--group", "production")
        bootstrap.resolve(uv, "sync", "--locked", "--python", python, *groups)


def build_development(folders: SharedFolders, tree: Path, target: Path) -> None:
    """Copy a rendered tree and do what `make setup` does."""
    shutil.copytree(tree, target)
    Bootstrap(target, folders).run()


class Bootstrap:
    """Running scripts/bootstrap.py, and installers, in a project's folder.

    These see the shell of the tests: package caches and mirrors are set up there.
    """

    def __init__(self, project: Path, folders: SharedFolders | None = None) -> None:
        self.project = project
        self._asked = folders and folders.root / "uv-has-asked-the-index"

    def call(self, *command: str, **variables: str) -> str:
        """Run a command and return what it prints to standard output."""
        inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        done = subprocess.run(
            command,
            cwd=self.project,
            env={**inherited, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def resolve(self, *command: str) -> str:
        """Run a command for which uv asks the package index, which it does once in a run.

        Later ones get by with uv's cache when they can. It is not only faster: a mirror that gives
        a file no validator seems to have a new one each time, and uv compiles the driver again.
        """
        if self._asked and self._asked.exists():
            with contextlib.suppress(CommandError):
                return self.call(*command, UV_OFFLINE="1")
        answer = self.call(*command)
        if self._asked:
            self._asked.touch()
        return answer

    def run(self, *arguments: str) -> str:
        """Run the script."""
        return self.resolve(sys.executable, "scripts/bootstrap.py", *arguments)

    def find(self, *arguments: str) -> str:
        """Return the path that the script has found."""
        return self.call(sys.executable, "scripts/bootstrap.py", *arguments)


def wanted_python(project: Path) -> str:
    """Return the version of Python that a project wants."""
    return (project / ".python-version").read_text(encoding="utf-8").strip()


def installed(project: Path) -> Service:
    """Return the service that is installed in a project's folder."""
    home = project.with_name(f"{project.name}-home")
    home.mkdir(exist_ok=True)
    programs = project / ".venv" / "bin"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    return Service(
        path=project,
        python=programs / "python",
        answers=answers,
        variables={
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
        },
    )
