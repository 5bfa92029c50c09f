# The gates. Maintained by the template: add your own to GATES in Makefile instead.
"""Run the gates that a change passes, the same here and in CI, and say at the end how each went.

    python3 scripts/ci.py                   every gate
    python3 scripts/ci.py --quick           those of `make check`: no server, no network
    python3 scripts/ci.py tests image       these
    python3 scripts/ci.py --without=image   every other

Needs Python 3.9 or newer and what `make setup` installs. A gate that fails does not hide the
others. One whose server or program is missing says what to do; with CI=true it has failed, too.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
SLUG = "{@ project_slug @}"
PROGRAMS = ROOT / os.environ.get("BIN", ".venv/bin")
REPORTS = ROOT / "reports"
SBOM = "reports/sbom.cdx.json"
AUDIT_HINT = "raise it with `make lock`, or see whether the network is there"
IN_CI = os.environ.get("CI") == "true"

# What production asks for and no gate uses; deploy/ci.env has a project's own.
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "{@ package_name @}.settings.production",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "ALLOWED_HOSTS": "example.com",
    "DATABASE_URL": "postgres://postgres@localhost/postgres",
    "CACHE_URL": "redis://localhost:6379/1",
    # @if task_queue == "celery"
    "CELERY_BROKER_URL": "{@ 'redis' if broker == 'redis' else 'amqp' @}://localhost",
    # @endif
    # @if media_storage != "none"
    "{@ 'MEDIA_ROOT' if media_storage == 'local' else 'AWS_STORAGE_BUCKET_NAME' @}": "/media",
    # @endif
}
TEST = {"DJANGO_SETTINGS_MODULE": "{@ package_name @}.settings.test"}


@dataclass(frozen=True)
class Server:
    """A server that gates need, as the variables of a service and of Docker know it."""

    name: str
    variable: str  # of the service, for the address
    address: str  # beside the image, while its probes are asked
    image: str
    image_variable: str  # names another image, as where a mirror is used

    @property
    def scheme(self) -> str:
        """How an address of it begins."""
        return self.address.partition(":")[0]


# By the host names of the addresses.
SERVERS = {
    "db": Server(
        "PostgreSQL",
        "DATABASE_URL",
        "postgres://postgres:postgres@db/postgres",
        "postgres:{@ postgres_version @}",
        "POSTGRES_IMAGE",
    ),
    "redis": Server("Redis", "CACHE_URL", "redis://redis:6379/1", "redis:8", "CACHE_IMAGE"),
    # @if broker == "rabbitmq"
    "rabbitmq": Server(
        "RabbitMQ",
        "CELERY_BROKER_URL",
        "amqp://guest:guest@rabbitmq:5672//",
        "rabbitmq:4",
        "BROKER_IMAGE",
    ),
    # @endif
}
PROBE = """
import sys, urllib.request
for path in ("/health/", "/ready/"):
    with urllib.request.urlopen("http://127.0.0.1:8000" + path, timeout=5) as answer:
        print(path, answer.status, answer.read().decode())
"""


class FailedError(Exception):
    """The gate has found something; the message is one sentence."""


class MissingError(Exception):
    """The gate cannot run here; the message is the sentence that says what it needs."""


# ---- The gates ----------------------------------------------------------------------------------


def formatting() -> None:
    """Modules are formatted."""
    run(program("ruff"), "format", "--check", hint="`make format` mends it")


def lint() -> None:
    """The linter finds nothing."""
    run(program("ruff"), "check")


def upgrade() -> None:
    """No module uses what the next Django removes."""
    python = [name for name in tracked() if name.endswith(".py")]
    run(program("django-upgrade"), "--check", "--target-version", "{@ django_version @}", *python)


def types() -> None:
    """The types agree."""
    run(program("mypy"))


def checks() -> None:
    """Django's own checks pass."""
    manage("check", TEST)


def deploy_checks() -> None:
    """Django has nothing against these settings in production."""
    manage("check --deploy --fail-level WARNING", {**PRODUCTION, **own_variables()})


def migrations() -> None:
    """No migration is missing."""
    manage("makemigrations --check --dry-run", TEST)


def migration_safety() -> None:
    """The release before works with the migrated database."""
    hint = "docs/ci.md says how a step is listed that is meant"
    run(program("python"), "scripts/migration_safety.py", env=servers("db"), hint=hint)


def quick_tests() -> None:
    """The tests pass."""
    run(program("python"), "-m", "pytest", "--quiet")


def tests() -> None:
    """The tests pass on real servers, and reach enough of the code."""
    coverage, env = program("coverage"), servers(*SERVERS)
    # @if task_queue == "celery" and broker == "redis"
    # A task goes through the Redis of the cache, in a queue of its own.
    env["CELERY_BROKER_URL"] = env["CACHE_URL"]
    # @endif
    REPORTS.mkdir(exist_ok=True)
    try:
        run(coverage, "run", "--branch", "--source=src", "-m", "pytest", "--quiet", env=env)
    finally:
        run(coverage, "xml", "--quiet", "-o", "reports/coverage.xml")
    # Of the project's own code: what the template maintains has its own measure.
    others = "--omit=src/common/*,src/{@ package_name @}/*"
    least = os.environ.get("COVERAGE", "80")
    run(coverage, "report", "--skip-covered", others, f"--fail-under={least}")


def docs() -> None:
    """Links between documents lead somewhere."""
    pages = [name for name in tracked() if name.endswith(".md")]
    broken = [f"{page}: {target}" for page in pages for target in broken_links(page)]
    print("\n".join(broken) or f"{len(pages)} pages.")
    if broken:
        raise FailedError(f"{len(broken)} links lead nowhere.")


def conflicts() -> None:
    """No update has left a conflict behind, as a bot may not see one."""
    pattern = "^(<<<<<<<|>>>>>>>) (before|after) updating"
    if succeeds("git", "grep", "--untracked", "--quiet", "-E", pattern):
        run("git", "--no-pager", "grep", "--untracked", "--line-number", "-E", pattern)
        raise FailedError(
            "Keep what is right between the lines <<<<<<< and >>>>>>>, and remove them."
        )


def secrets_scan() -> None:
    """No secret is in a file that git knows."""
    scan = (
        program("detect-secrets-hook"),
        "--exclude-secrets",
        "^(postgres|guest|not-a-secret.*)$",
    )
    hint = "take it out and replace it; what is none ends with `# pragma: allowlist secret`"
    names = tracked()
    # Passwords of people who do not exist are what tests are made of.
    in_tests = [name for name in names if name.startswith("tests/")]
    run(*scan, "--disable-plugin", "KeywordDetector", *in_tests, hint=hint)
    run(*scan, *(name for name in names if name not in in_tests), hint=hint)


# @if package_manager == "uv"
def lock() -> None:
    """The lock is what the dependencies ask for."""
    run(uv(), "lock", "--check", hint="`python3 scripts/bootstrap.py --lock` mends it")


def audit() -> None:
    """No dependency has a known vulnerability."""
    run(uv(), "audit", "--locked", hint=AUDIT_HINT)


def sbom() -> None:
    """What production is made of can be listed, in reports/sbom.cdx.json."""
    REPORTS.mkdir(exist_ok=True)
    options = ("--no-default-groups", "--group", "production", "--output-file", SBOM)
    run(uv(), "export", "--locked", "--quiet", "--format", "cyclonedx1.5", *options)


def uv() -> str:
    """Return the path of uv."""
    command = [sys.executable, "scripts/bootstrap.py", "find-uv"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        raise MissingError(found.stderr.strip())
    return found.stdout.strip()


# @else
def lock() -> None:
    """The lock is what the dependencies ask for."""
    files = [ROOT / f"requirements/{name}.lock.txt" for name in ("production", "development")]
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        run(sys.executable, "scripts/bootstrap.py", "--lock")
        stale = any(path.read_bytes() != content for path, content in before.items())
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
    if stale:
        raise FailedError("The lock is stale: `python3 scripts/bootstrap.py --lock` mends it.")


def audit() -> None:
    """No dependency has a known vulnerability."""
    # --strict, as it passes over a package otherwise of which the index says nothing.
    options = ("--strict", "--disable-pip", "--require-hashes", "--requirement")
    run(program("pip-audit"), *options, "requirements/production.lock.txt", hint=AUDIT_HINT)


def sbom() -> None:
    """What production is made of can be listed, in reports/sbom.cdx.json."""
    REPORTS.mkdir(exist_ok=True)
    options = ("requirements/production.lock.txt", "--output-file", SBOM)
    run(program("cyclonedx-py"), "requirements", *options)


# @endif
def image() -> None:
    """The production image starts, and both probes answer."""
    if shutil.which("docker") is None or not succeeds("docker", "version"):
        raise MissingError("Docker is missing: install it, or start its daemon.")
    tag = f"{SLUG}:ci"
    # A variable that is set names another base, as where a mirror is used.
    bases = re.findall(r"(?m)^ARG (\w+_IMAGE)=", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    options = [f"--build-arg={name}" for name in bases]
    run("docker", "build", *options, "--tag", tag, ".", env={"DOCKER_BUILDKIT": "1"})
    with network() as (name, variables):
        start = ("docker", "run", "--network", name, *variables)
        run(*start, "--rm", tag, "python", "manage.py", "migrate", "--no-input", "--verbosity=0")
        # As in production: nothing to write to, and no right to ask for more.
        locked = (
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        )
        web = f"{name}-web"
        try:
            run(*start, *locked, "--detach", "--name", web, tag)
            if not eventually("docker", "exec", web, "python", "-c", PROBE):
                run("docker", "logs", web)
                run("docker", "exec", web, "python", "-c", PROBE)
        finally:
            succeeds("docker", "rm", "--force", "--volumes", web)


QUICK: dict[str, Callable[[], None]] = {
    "format": formatting,
    "lint": lint,
    "types": types,
    "check": checks,
    "migrations": migrations,
    "tests": quick_tests,
}
ALL: dict[str, Callable[[], None]] = {
    "lock": lock,
    "format": formatting,
    "lint": lint,
    "upgrade": upgrade,
    "types": types,
    "check": checks,
    "check-deploy": deploy_checks,
    "migrations": migrations,
    "migration-safety": migration_safety,
    "tests": tests,
    "docs": docs,
    "conflicts": conflicts,
    "secrets": secrets_scan,
    "audit": audit,
    "sbom": sbom,
    "image": image,
}


# ---- Running them -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a gate went."""

    gate: str
    result: str
    seconds: float
    reason: str = ""


def main(*arguments: str) -> int:
    """Run what the command line asks for and return the exit code."""
    own = {name: own_gate(name) for name in os.environ.get("GATES", "").split()}
    gates = QUICK if arguments == ("--quick",) else {**ALL, **own}
    prefix = "--without="
    without = [word[len(prefix) :] for word in arguments if word.startswith(prefix)]
    chosen = [word for word in arguments if not word.startswith("--")]
    chosen = chosen or [name for name in gates if name not in without]
    if unknown := [name for name in (*chosen, *without) if name not in gates]:
        print(f"No gate is called {unknown[0]}: there are {', '.join(gates)}.", file=sys.stderr)
        return 2
    outcomes = [attempt(name, gates[name]) for name in chosen]
    return summary(outcomes)


def own_gate(target: str) -> Callable[[], None]:
    """Return a gate that runs a target of Makefile."""
    return lambda: run("make", target)


def attempt(name: str, gate: Callable[[], None]) -> Outcome:
    """Run a gate, and return how it went."""
    say(f"\n==> {name}: {gate.__doc__ or 'make ' + name}")
    start = time.monotonic()
    result, reason = "passed", ""
    try:
        gate()
    except MissingError as error:
        result, reason = "FAILED" if IN_CI else "not run", str(error)
    except (FailedError, OSError) as error:
        result, reason = "FAILED", str(error)
    if reason:
        say(reason)
    return Outcome(name, result, time.monotonic() - start, reason)


def summary(outcomes: list[Outcome]) -> int:
    """Print how each gate went, and return the exit code."""
    width = max(len(outcome.gate) for outcome in outcomes)
    say(f"\n{'gate':{width}}  result   seconds")
    for outcome in outcomes:
        line = (
            f"{outcome.gate:{width}}  {outcome.result:7}  {outcome.seconds:7.1f}  {outcome.reason}"
        )
        say(line.rstrip())
    failed = [outcome.gate for outcome in outcomes if outcome.result == "FAILED"]
    left = [outcome.gate for outcome in outcomes if outcome.result == "not run"]
    if left:
        say(f"\nNot run, and so not known: {', '.join(left)}.")
    if failed:
        say(f"\n{len(failed)} of {len(outcomes)} gates failed: {', '.join(failed)}.")
        return 1
    say(f"\n{len(outcomes) - len(left)} of {len(outcomes)} gates passed.")
    return 0


# ---- What the gates share -----------------------------------------------------------------------


def run(*command: str, env: dict[str, str] | None = None, hint: str = "") -> None:
    """Run a command in the project's folder; raise FailedError when it fails."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})}, check=False)
    if done.returncode:
        words = " ".join([Path(command[0]).name, *shlex.join(command[1:]).split()])
        shown = words if len(words) <= 60 else f"{words[:58]} …"
        mend = f": {hint}" if hint else ""
        raise FailedError(f"`{shown}` ended with exit code {done.returncode}{mend}.")


def manage(arguments: str, env: dict[str, str]) -> None:
    """Run a command of manage.py."""
    run(program("python"), "manage.py", *arguments.split(), env=env)


def program(name: str) -> str:
    """Return the path of a program that `make setup` installs."""
    path = PROGRAMS / name
    if not path.exists():
        raise FailedError(f"{name} is not installed: `make setup` brings .venv up to date.")
    return str(path)


def tracked() -> list[str]:
    """Return the path of every file that git knows, or would if it were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise MissingError("This folder is no repository of git: `make setup` makes it one.")
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def own_variables(name: str = "deploy/ci.env") -> dict[str, str]:
    """Return the variables in a file of lines NAME=value."""
    path = ROOT / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return dict(re.findall(r"(?m)^([A-Z][A-Z0-9_]*)=(.*)$", text))


def servers(*hosts: str) -> dict[str, str]:
    """Return the variables that name these servers, from the environment or from .env."""
    found = {**own_variables(".env"), **os.environ}
    asked = [SERVERS[host] for host in hosts]
    for server in asked:
        if not found.get(server.variable, "").startswith(server.scheme):
            raise MissingError(f"{server.variable} names no {server.name}: docs/ci.md starts one.")
    return {**TEST, **{server.variable: found[server.variable] for server in asked}}


def broken_links(page: str) -> Iterator[str]:
    """Yield the targets in a page of Markdown that are not there."""
    text = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", (ROOT / page).read_text(encoding="utf-8"))
    for target in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        if re.match(r"[a-z]+:", target):
            continue
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            yield target


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its headings, with dashes for blanks."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^#+ +(.+)$", text)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@contextmanager
def network() -> Iterator[tuple[str, list[str]]]:
    """Start the servers in a network of their own; give its name, and options for a service."""
    name = f"{SLUG}-ci-{os.getpid()}"
    containers = {host: f"{name}-{host}" for host in SERVERS}
    run("docker", "network", "create", name)
    try:
        for host, server in SERVERS.items():
            place = ("--name", containers[host], "--network", name, "--network-alias", host)
            # Only PostgreSQL knows the variable.
            options = (*place, "--env", "POSTGRES_PASSWORD=postgres")
            public = os.environ.get(server.image_variable, server.image)
            run("docker", "run", "--detach", *options, public)
        # By TCP, as the server that fills a new folder listens on a socket alone.
        ready = ("docker", "exec", containers["db"], "pg_isready", "--quiet", "--host=127.0.0.1")
        if not eventually(*ready):
            raise FailedError("PostgreSQL did not start in a minute.")
        variables = {
            **PRODUCTION,
            # @if task_queue == "celery"
            "CELERY_BROKER_URL": SERVERS["{@ broker @}"].address,
            "READY_CHECK_BROKER": "1",
            # @endif
            **{server.variable: server.address for server in SERVERS.values()},
            **own_variables(),
        }
        yield name, [f"--env={key}={value}" for key, value in variables.items()]
    finally:
        succeeds("docker", "rm", "--force", "--volumes", *containers.values())
        succeeds("docker", "network", "rm", name)


def succeeds(*command: str) -> bool:
    """Tell whether a command ends with exit code 0; its output is not shown."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def eventually(*command: str, seconds: float = 60) -> bool:
    """Tell whether a command succeeds in time; its output is shown when it does."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            say(done.stdout.strip())
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(1)


def say(text: str) -> None:
    """Print a line at once, so that it stands above what is run next."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
