"""The Docker engine: what tests build, start and ask with it, and leave no trace of.

Whatever a project's files name by a variable of the kind `REDIS_IMAGE` gets an image that is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from tests.servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.containers.images import Images

# From the shell of the tests: where Docker is, and how it is reached.
INHERITED = re.compile(r"PATH|HOME|LANG|TERM|DOCKER_(HOST|CONFIG|CONTEXT|CERT_PATH|TLS_VERIFY)")


class EngineError(Exception):
    """A command of Docker failed; the message ends with its output."""


class Engine:
    """A running engine, and the client that talks to it."""

    def __init__(self, images: Images, client: str = "docker") -> None:
        self._images = images
        self.client = client

    def run(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
        check: bool = True,
        seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker …`; without `check` a failure is returned, not raised as EngineError."""
        inherited = {name: text for name, text in os.environ.items() if INHERITED.fullmatch(name)}
        done = subprocess.run(
            [self.client, *words],
            cwd=cwd,
            env={**inherited, "DOCKER_BUILDKIT": "1", **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise EngineError(
                f"`docker {' '.join(map(str, words))}` ended with exit code {done.returncode}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def inspect(self, kind: str, name: str) -> Any:  # noqa: ANN401  JSON may be anything
        """Return all that is known of an image, a container, a volume or a network."""
        return json.loads(self.run(kind, "inspect", name).stdout)[0]

    def gateway(self, network: str) -> str:
        """Return the address by which the containers of a network reach this machine."""
        address: str = self.inspect("network", network)["IPAM"]["Config"][0]["Gateway"]
        return address

    def image(self, reference: str) -> str:
        """Return an image that is there for this public one."""
        return self._images.get(reference)

    def variables(self, project: Path) -> dict[str, str]:
        """Return an image that is there for each that a project names, by variable."""
        return self._images.of(project)

    def build(
        self,
        project: Path,
        tag: str,
        *options: str,
        dockerfile: str = "Dockerfile",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Build an image of a project, its bases given as build arguments."""
        text = (project / dockerfile).read_text(encoding="utf-8")
        arguments = [
            f"--build-arg={name}={image}"
            for name, image in self.variables(project).items()
            if re.search(rf"(?m)^ARG {name}=", text)
        ]
        return self.run(
            "build",
            "--progress=plain",
            f"--file={project / dockerfile}",
            f"--tag={tag}",
            *arguments,
            *options,
            project,
            check=check,
            seconds=900,
        )

    def compose(
        self, project: Path, name: str, *files: str, env: Mapping[str, str] | None = None
    ) -> Compose:
        """Return the services of a project's compose files, under a name of their own.

        Without `files` compose looks for them itself. `env` stands before the images' variables.
        """
        return Compose(self, project, name, files, {**self.variables(project), **(env or {})})


class Compose:
    """The services of a project, as `docker compose` sees them."""

    def __init__(
        self, engine: Engine, project: Path, name: str, files: tuple[str, ...], env: dict[str, str]
    ) -> None:
        self.engine = engine
        self.project = project
        self.name = name
        self.env = env
        self._options = ["--project-name", name, *(f"--file={file}" for file in files)]

    def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose …` in the project's folder."""
        return self.engine.run(
            "compose",
            *self._options,
            *words,
            env={**self.env, **(env or {})},
            cwd=self.project,
            check=check,
            seconds=seconds,
        )

    def config(self, *options: str, env: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  JSON may be anything
        """Return what compose makes of the files."""
        return json.loads(self.run(*options, "config", "--format", "json", env=env).stdout)

    def container(self, service: str) -> str:
        """Return the id of a service's only container, running or not."""
        (found,) = self.run("ps", "--all", "--quiet", service).stdout.split()
        return found

    def execute(
        self, service: str, *command: str, check: bool = True, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a running container."""
        return self.run("exec", "--no-TTY", service, *command, check=check, seconds=seconds)

    @contextlib.contextmanager
    def up(self, *options: str, seconds: float = 300) -> Iterator[Compose]:
        """Start the services, and wait until they are healthy; end and remove all afterwards."""
        try:
            try:
                self.run("up", "--detach", "--wait", *options, seconds=seconds)
            except (EngineError, subprocess.TimeoutExpired) as error:
                states = self.run("ps", "--all").stdout
                logs = self.run("logs", "--no-color", "--tail=40").stdout
                raise EngineError(f"{error}\n{states}\n{logs}") from None
            yield self
        finally:
            self.down()

    def down(self) -> None:
        """End and remove the containers, networks, volumes and images of these services."""
        everything = ("--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5")
        # Whatever profile was on: those of services that are off are not looked at.
        self.run("--profile", "*", "down", *everything)


def running_engine(images: Images) -> Engine:
    """Return the engine of this machine, with what a project needs of it; see `missing`."""
    if not shutil.which("docker"):
        missing("docker is not installed")
    engine = Engine(images)
    for words, lack in (
        (("info",), "no engine of Docker answers: start dockerd"),
        (("compose", "version"), "docker compose is not installed"),
        (("buildx", "version"), "docker buildx is not installed"),
    ):
        done = engine.run(*words, check=False, seconds=60)
        if done.returncode:
            missing(f"{lack}: {done.stderr.strip()}")
    return engine
