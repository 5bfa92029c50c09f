"""The public images that a project names, for tests: the real ones, or stand-ins for them.

A project names each image by a variable with a default, `${REDIS_IMAGE:-redis:8}` in a compose file
or `ARG PYTHON_IMAGE=…` in a Dockerfile. Where a registry can be reached, the defaults are pulled.
Elsewhere stand-in/redis:8 takes the place of redis:8, made from Debian's packages: under a name of
its own, as nobody wants to find a stand-in as redis:8 on his machine.

`python -m tests.containers.images rendered` prints the variables for the project in rendered/.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rendering import SharedFolders

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPES = Path(__file__).with_name("stand-ins")
SUITE = "trixie"
DEBIAN = "debian:trixie-slim"
LABEL = "recipe"
CERTIFICATES = "/etc/ssl/certs/host.pem"
# As in the official image: nothing that apt could make again.
APT = (
    'APT::Keep-Downloaded-Packages "false"; Acquire::GzipIndexes "true"; '
    'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";'
)

# What a project calls an image, in its compose files and in its Dockerfiles.
REFERENCE = re.compile(r"(?m)\$\{(\w+_IMAGE):-([^}\s]+)\}|^ARG (\w+_IMAGE)=(\S+)$")

# How the host reaches package indexes: by these variables, which its images get, too.
INDEX = re.compile(r"(?i)(https?|no|all)_proxy|PIP_(EXTRA_)?INDEX_URL|UV_(DEFAULT_)?INDEX(_URL)?")


@dataclass(frozen=True)
class StandIn:
    """A stage of the Dockerfile, and the versions of the image that it can stand in for."""

    stage: str
    versions: str = ""  # as a regular expression at the beginning of the tag


# By repository. Another one is a line here and a stage in the Dockerfile.
STAND_INS = {
    "axllent/mailpit": StandIn("mailpit"),
    "caddy": StandIn("caddy", "2"),
    "debian": StandIn("debian", SUITE),
    "edoburu/pgbouncer": StandIn("pgbouncer"),
    "ghcr.io/astral-sh/uv": StandIn("uv", r"\d+\.\d+\.\d+"),
    "motoserver/moto": StandIn("moto"),
    "postgres": StandIn("postgres", "17"),
    "prom/prometheus": StandIn("prometheus"),
    "python": StandIn("python", rf"3\.13(\.\d+)?-slim-{SUITE}"),
    "rabbitmq": StandIn("rabbitmq", "4"),
    "redis": StandIn("redis", "8"),
}


class ImageError(Exception):
    """An image is not to be had; the message says why."""


def references(project: Path) -> dict[str, str]:
    """Return the images that a project's files name, by variable: {"REDIS_IMAGE": "redis:8"}.

    Those that the project builds itself are not among them.
    """
    paths = [
        path
        for pattern in ("**/Dockerfile*", "**/*compose*.yml")
        for path in project.glob(pattern)
        if ".venv" not in path.parts
    ]
    found = [match.groups() for path in paths for match in REFERENCE.finditer(path.read_text())]
    named = {group[0] or group[2]: group[1] or group[3] for group in found}
    return {name: image for name, image in named.items() if repository(image) in STAND_INS}


def repository(reference: str) -> str:
    """Return what stands before the tag and the digest."""
    return re.sub(r"(:[^:/@]+)?(@.*)?$", "", reference)


class Images:
    """What the engine has, and what it gets: each image once in a run, whoever asks first."""

    def __init__(self, folders: SharedFolders) -> None:
        self._folders = folders

    def of(self, project: Path) -> dict[str, str]:
        """Return an image that is there for each variable of a project."""
        named = references(project)
        with ThreadPoolExecutor(max_workers=3) as threads:
            return dict(zip(named, threads.map(self.get, named.values()), strict=True))

    def get(self, reference: str) -> str:
        """Return an image that is there: the one of this name, or the stand-in for it."""

        def build(folder: Path) -> None:
            folder.mkdir()
            image = reference if self._is_pulled(reference) else self._stand_in(reference)
            (folder / "image").write_text(image)

        return (self._folders.get(f"image-{_slug(reference)}", build) / "image").read_text()

    def _is_pulled(self, reference: str) -> bool:
        """Tell whether the real image is there, after an attempt to get it."""
        # What was built here has no digest, or the label of a stand-in.
        known = _inspect(
            f"{{{{len .RepoDigests}}}} {{{{index .Config.Labels `{LABEL}`}}}}", reference
        )
        if re.fullmatch(r"[1-9]\d* ", known):
            return True

        def attempt(folder: Path) -> None:
            folder.mkdir()
            (folder / "answer").write_text("yes" if _pull("hello-world", seconds=20) else "no")

        reached = self._folders.get("registry", attempt) / "answer"
        return reached.read_text() == "yes" and _pull(reference, seconds=600)

    def _stand_in(self, reference: str) -> str:
        name, _, tag = reference.partition("@")[0].rpartition(":")
        known = STAND_INS.get(name)
        if known is None or not re.match(known.versions, tag):
            raise ImageError(
                f"{reference} cannot be pulled, and there is no stand-in for it: "
                "see tests/containers/images.py."
            )
        if reference == DEBIAN:
            return _import_debian()
        image = f"stand-in/{name}:{tag}"
        below = self.get(DEBIAN)
        recipe = _recipe(sources(known.stage), _inspect("{{.Id}}", below))
        if _inspect(f"{{{{index .Config.Labels `{LABEL}`}}}}", image) != recipe:
            arguments = (f"DEBIAN_IMAGE={below}", f"TAG={tag}")
            _run(
                "docker",
                "build",
                "--quiet",
                f"--tag={image}",
                f"--target={known.stage}",
                f"--label={LABEL}={recipe}",
                *(f"--build-arg={argument}" for argument in arguments),
                str(RECIPES),
            )
        return image


def _import_debian() -> str:
    """Make the image below all others: a bare Debian that knows how the host reaches an index."""
    image = f"stand-in/{DEBIAN}"
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    variables = {
        **_index(),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_CERT": CERTIFICATES,
        "REQUESTS_CA_BUNDLE": CERTIFICATES,
        "SSL_CERT_FILE": CERTIFICATES,
    }
    unneeded = ("doc", "info", "locale", "man")
    command = (
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--include=ca-certificates",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in unneeded),
        f"--customize-hook=upload {certificates} {CERTIFICATES}",
        f"--customize-hook=echo '{APT}' > $1/etc/apt/apt.conf.d/docker",
        SUITE,
        "-",
        _mirror(),
    )
    changes = ['CMD ["bash"]', *(f'ENV {name}="{value}"' for name, value in variables.items())]
    recipe = _recipe(*command, *changes, Path(certificates).read_text())
    if _inspect(f"{{{{index .Config.Labels `{LABEL}`}}}}", image) == recipe:
        return image
    if not shutil.which("mmdebstrap"):
        raise ImageError("mmdebstrap is missing: install it, or connect to a registry.")
    changes.append(f"LABEL {LABEL}={recipe}")
    with tempfile.TemporaryDirectory() as folder:
        tree = str(Path(folder, "debian.tar"))
        _run(*(tree if word == "-" else word for word in command))
        _run("docker", "import", *(f"--change={change}" for change in changes), tree, image)
    return image


def _index() -> dict[str, str]:
    """Return the variables by which the host's pip and uv find their index, where they have any."""
    found = {name: value for name, value in os.environ.items() if INDEX.fullmatch(name)}
    configured = subprocess.run(
        ["/usr/bin/python3", "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    if configured.returncode == 0:
        url = configured.stdout.strip()
        found = {"PIP_INDEX_URL": url, "UV_DEFAULT_INDEX": url, **found}
    return found


def _mirror() -> str:
    """Return the address from which the host gets its own Debian packages, or a public one."""
    debian = platform.freedesktop_os_release()["ID"] == "debian"
    for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if (
            debian
            and path.exists()
            and (found := re.search(r"(?m)^(?:URIs:|deb(?: \[.*?\])?) (\S+)", path.read_text()))
        ):
            return found[1]
    return "http://deb.debian.org/debian"


def sources(stage: str) -> str:
    """Return what a stage of the Dockerfile is made from, down to the bare Debian."""
    dockerfile = (RECIPES / "Dockerfile").read_text()
    own = re.search(rf"(?ms)^FROM (\S+) AS {stage}$.*?(?=^FROM |\Z)", dockerfile)
    if own is None:
        return ""
    files = [path for path in sorted(RECIPES.iterdir()) if f"{path.name} " in own[0]]
    return "".join([own[0], *(path.read_text() for path in files), sources(own[1])])


def _recipe(*parts: str) -> str:
    """Return what changes with all that an image is made from."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _inspect(template: str, image: str) -> str:
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", template, image],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip("\n") if done.returncode == 0 else ""


def _pull(reference: str, *, seconds: float) -> bool:
    try:
        done = subprocess.run(
            ["docker", "pull", "--quiet", reference],
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise ImageError(f"`{' '.join(command)}` failed:\n{end}")


def _slug(reference: str) -> str:
    return re.sub(r"[^\w.-]", "-", reference)


def main(arguments: Sequence[str]) -> None:
    """Print the variables for one project as `export` lines."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name, image in (
            Images(SharedFolders(Path(folder, "shared"))).of(Path(arguments[0])).items()
        ):
            print(f"export {name}={image}")
    print(f"# {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
