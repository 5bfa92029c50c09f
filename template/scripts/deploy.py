# Production on one server. Maintained by the template: add a target to Makefile instead.
"""Bring this service to its server, which runs docker-compose.prod.yml from a checkout.

    python3 scripts/deploy.py init [NAME=VALUE]...  write what is missing of .env and secrets/
    python3 scripts/deploy.py check                 all that must be right before the first deploy
    python3 scripts/deploy.py deploy [IMAGE]        build this checkout, or pull IMAGE, and run it
    python3 scripts/deploy.py rollback              run the image that ran before
    python3 scripts/deploy.py smoke [URL]           ask the running service whether all is well

Needs Docker and Python 3.9 or newer with its standard library. A deploy that fails (exit code 1)
leaves what ran before running. With exit code 3 the new image runs, but something beside it is not
well. docs/deployment.md describes it all.
"""

from __future__ import annotations

import calendar
import contextlib
import fcntl
import functools
import http.client
import json
import os
import re
import secrets
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Containers = Mapping[str, Sequence[str]]

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".env"
SECRETS = ROOT / "secrets"
SLUG = "{@ project_slug @}"
PACKAGE = "{@ package_name @}"

ISO = "%Y-%m-%dT%H:%M:%S"
OLDEST_DOCKER = "20.10"
OLDEST_COMPOSE = "2.24"
LONGEST_START = 180  # seconds that a new container of web has to become ready
NOT_WELL = 3  # the exit code when the new image runs, but something beside it is not well

# What is started beside what runs of it, and takes over when it is ready.
TAKE_OVER = [
    "web",
    # @if task_queue == "celery"
    "worker",
    # @endif
]


class HandNeededError(Exception):
    """A person has to do something first; the message is the sentence that says what."""


def main(command: str = "", *arguments: str) -> int:
    """Run what the command line asks for and return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: what is begun is taken back
    assignments = all(re.match(r"[A-Z][A-Z0-9_]*=", argument) for argument in arguments)
    code = 0
    try:
        if command == "init" and assignments:
            initialise(dict(argument.split("=", 1) for argument in arguments))
        elif command == "check" and not arguments:
            code = check()
        elif command == "deploy" and len(arguments) <= 1:
            with alone():
                code = deploy(*arguments)
        elif command == "rollback" and not arguments:
            with alone():
                code = roll_back()
        elif command == "smoke" and len(arguments) <= 1:
            code = smoke(*arguments)
        else:
            usage = "init [NAME=VALUE]... | check | deploy [IMAGE] | rollback | smoke [URL]"
            print(f"Usage: deploy.py {usage}", file=sys.stderr)
            return 2
    except (HandNeededError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: run this again to go on.", file=sys.stderr)
        return 130
    return code


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep a second deploy from this folder out until the first has ended."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise HandNeededError("Another deploy runs here: wait for its end.") from None
    finally:
        os.close(folder)


# ---- The server's variables and secrets ---------------------------------------------------------

VARIABLES = """\
# What runs on this server; read by Docker Compose, and by the service, whose own variables
# (docs/configuration.md) go here, too. Secrets are files in secrets/: docs/deployment.md#secrets.
COMPOSE_FILE=docker-compose.prod.yml:docker-compose.prod.override.yml
COMPOSE_PROJECT_NAME={@ project_slug @}

# What is managed elsewhere is left out: docs/deployment.md.
COMPOSE_PROFILES=proxy,postgres,redis{@ ',rabbitmq' if broker == 'rabbitmq' else '' @}

# The host name under which the service is reached.
DOMAIN=

# The address that Let's Encrypt may write to; or: internal, for certificates of one's own.
TLS=

# Written by each deploy.
APP_IMAGE=
PREVIOUS_APP_IMAGE=
"""


def initialise(given: dict[str, str]) -> None:
    """Write .env and each secret, unless it is there; a secret that holds another is made of it."""
    if not ENVIRONMENT.exists():
        text = VARIABLES
        for name, value in given.items():
            text = with_variable(text, name, value)
        write(ENVIRONMENT, text, 0o600)
        say(f"{ENVIRONMENT.name} is written.")
    elif "COMPOSE_FILE" not in variables():
        raise HandNeededError(
            f"{ENVIRONMENT} is that of a developer: production needs a checkout of its own."
        )
    elif given:
        raise HandNeededError(".env is there already: change its variables in the file.")
    SECRETS.mkdir(mode=0o700, exist_ok=True)
    for name, value in fresh_secrets():
        path = SECRETS / name
        if not path.exists():
            # Everybody may read it in the folder that nobody may enter: in a container, where it is
            # mounted alone, the service's own user does.
            write(path, value, 0o444)
            say(f"{SECRETS.name}/{name} is written.")
    missing = [name for name in ("DOMAIN", "TLS") if not variables().get(name)]
    if missing:
        say(f"Now give {' and '.join(missing)} in .env, then: make deploy-check")


def fresh_secrets() -> Iterator[tuple[str, str]]:
    """Yield name and value of each secret; those that come later are made of the earlier."""
    found = variables()
    host = found.get("POSTGRES_HOST") or "postgres"
    port = found.get("POSTGRES_PORT") or "5432"
    user = found.get("POSTGRES_USER") or PACKAGE
    name = found.get("POSTGRES_DB") or PACKAGE
    yield "secret_key", secrets.token_urlsafe(50)
    yield "postgres_password", secrets.token_urlsafe(32)
    account = f"{quoted(user)}:{quoted(secret('postgres_password'))}"
    yield "database_url", f"postgres://{account}@pgbouncer:6432/{quoted(name)}"
    # What a managed server asks for; PgBouncer and the backups hear of it by a variable.
    mode = f"?sslmode={found['POSTGRES_SSLMODE']}" if found.get("POSTGRES_SSLMODE") else ""
    yield "database_url_direct", f"postgres://{account}@{host}:{port}/{quoted(name)}{mode}"
    # @if task_queue == "celery" and broker == "redis"
    url = "redis://:{password}@broker:6379/0"
    yield from server_secrets("broker", "requirepass {password}\n", url)
    # @elif broker == "rabbitmq"
    yield from server_secrets(
        "broker",
        f"default_user = {PACKAGE}\ndefault_pass = {{password}}\n",
        f"amqp://{PACKAGE}:{{password}}@broker:5672//",
    )
    # @endif
    url = "redis://:{password}@cache:6379/0"
    yield from server_secrets("cache", "requirepass {password}\n", url)
    if "monitoring" in found.get("COMPOSE_PROFILES", "").split(","):
        # @if task_queue == "celery"
        yield "flower_user", f"admin:{secrets.token_urlsafe(32)}"
        # @endif
        yield "grafana_password", secrets.token_urlsafe(32)


def server_secrets(server: str, configuration: str, url: str) -> Iterator[tuple[str, str]]:
    """Yield what tells a server its password, and the address that has it, too."""
    password = secrets.token_urlsafe(32)
    if (SECRETS / f"{server}.conf").exists():
        password = last_word(secret(f"{server}.conf"))
    yield f"{server}.conf", configuration.format(password=password)
    yield f"{server}_url", url.format(password=password)


def secret(name: str) -> str:
    """Return the content of a secret, or nothing."""
    path = SECRETS / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def last_word(text: str) -> str:
    """Return what stands at the end of a text, or nothing."""
    return (text.split() or [""])[-1]


def quoted(text: str) -> str:
    """Return a text as part of a URL."""
    return urllib.parse.quote(text, safe="")


def write(path: Path, text: str, mode: int) -> None:
    """Write a file in one step, so that an interruption leaves the old one or none."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.chmod(mode)
    draft.replace(path)


def variables() -> dict[str, str]:
    """Return what .env says."""
    if not ENVIRONMENT.exists():
        raise HandNeededError(".env is missing: `make deploy-init` writes it, with the secrets.")
    text = ENVIRONMENT.read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", text, re.MULTILINE)
    return {name: without_comment(value.strip()) for name, value in found}


def without_comment(value: str) -> str:
    """Return what Compose takes of a line: what is in quotes, or what stands before a comment."""
    quoted = re.match(r"([\"'])(.*?)\1", value)
    return quoted[2] if quoted else value.partition(" #")[0].rstrip()


def with_variable(text: str, name: str, value: str) -> str:
    """Return the text of .env with a variable set."""
    line = f"{name}={value}"
    if re.search(rf"^{name}=", text, re.MULTILINE):
        return re.sub(rf"^{name}=.*$", lambda _: line, text, flags=re.MULTILINE)
    return f"{text}{line}\n"


# ---- Docker -------------------------------------------------------------------------------------


def run(*command: str, image: str = "", check: bool = True) -> str:
    """Run a command in the project's folder and return what it prints; its failure is a sentence.

    `image` is the one of the service for this command, instead of that in .env.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(image),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise HandNeededError(
            f"`{shlex.join(command)}` failed:\n{done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout.strip()


def show(*command: str, image: str = "") -> None:
    """Run a command whose output is for the reader; raise HandNeededError when it fails."""
    say(shlex.join(command))
    if code := subprocess.run(command, cwd=ROOT, env=environment(image), check=False).returncode:
        raise HandNeededError(f"`{shlex.join(command)}` ended with exit code {code}.")


def environment(image: str = "") -> dict[str, str]:
    """Return the variables of the shell but for those that .env sets, which alone counts here."""
    written = variables()
    found = {name: text for name, text in os.environ.items() if name not in written}
    return {**found, "APP_IMAGE": image} if image else found


def require_docker() -> None:
    """Raise HandNeededError unless Docker answers, and is new enough."""
    for name, oldest, command in (
        ("Docker", OLDEST_DOCKER, ("docker", "version", "--format", "{{.Server.Version}}")),
        ("Docker Compose", OLDEST_COMPOSE, ("docker", "compose", "version", "--short")),
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise HandNeededError(
                "Docker is missing: install it (https://docs.docker.com/engine/install/)."
            ) from None
        if done.returncode:
            raise HandNeededError(f"{name} does not answer: {done.stderr.strip()}")
        if numbers(done.stdout) < numbers(oldest):
            raise HandNeededError(
                f"{name} {done.stdout.strip()} is too old: install {oldest} or newer."
            )


def numbers(version: str) -> list[int]:
    """Return the first numbers in a version, to compare it by."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def configuration(*options: str) -> dict[str, Any]:
    """Return what Compose makes of its files and of .env."""
    command = ("docker", "compose", *options, "config", "--format", "json")
    found: dict[str, Any] = json.loads(run(*command))
    return found


def require_secrets(found: dict[str, Any]) -> None:
    """Raise HandNeededError when a secret that a service reads is missing in secrets/."""
    used = {
        secret["source"]
        for service in found["services"].values()
        for secret in service.get("secrets", ())
    }
    # What only an option needs that is not taken is /dev/null.
    files = {Path(found["secrets"][name]["file"]) for name in used} - {Path(os.devnull)}
    missing = sorted(file.name for file in files if not file.is_file() or not file.stat().st_size)
    if missing:
        raise HandNeededError(
            f"{', '.join(missing)} missing in secrets/: write the secret, or let `make deploy-init`"
            " do it."
        )


def containers(service: str, *options: str) -> list[str]:
    """Return the ids of a service's containers: of those that run, or with --all of each."""
    return run("docker", "compose", "ps", "--quiet", *options, service).split()


def say(text: str) -> None:
    """Print a line of progress; who reads it may be gone, as when a connection is lost."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


# ---- Deploy and rollback ------------------------------------------------------------------------


def deploy(image: str = "") -> int:
    """Build or pull the image, migrate, and replace what runs; return the exit code."""
    require_docker()
    found = configuration()
    require_secrets(found)
    require_data(found)
    if image:
        pull(image)
    else:
        image = build()
    # Those that are built here in any case, such as that of the profile backup.
    built = {name for name, service in found["services"].items() if "build" in service}
    if own := sorted(built - {"migrate", *users(found)}):
        show("docker", "compose", "build", *own)
    return roll_out(found, image, migrate=True)


def require_data(found: dict[str, Any]) -> None:
    """Raise HandNeededError when PostgreSQL would start empty beside data of another version."""
    if "postgres" not in found["services"]:
        return
    folder = found["services"]["postgres"]["environment"]["PGDATA"]
    names = containers("postgres")
    given = run("docker", "inspect", "--format", "{{json .Config.Env}}", *names) if names else ""
    if f'"PGDATA={folder}"' in given:
        return
    script = 'test -s "$PGDATA/PG_VERSION" || cat /var/lib/postgresql/*/data/PG_VERSION 2>/dev/null'
    once = ("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "sh", "postgres", "-c", script)
    if versions := run("docker", "compose", *once, check=False).split():
        raise HandNeededError(
            f"PostgreSQL has data of version {' and '.join(versions)}, and none in {folder}, where"
            " it would start: docs/postgres-upgrade.md says how the data moves."
        )


def pull(image: str) -> None:
    """Get an image from its registry; one that is here may be in none."""
    try:
        show("docker", "pull", "--quiet", image)
    except HandNeededError:
        if not run("docker", "image", "ls", "--quiet", image):
            raise
        say(f"{image} cannot be pulled: the one that is here is taken.")


def users(found: dict[str, Any]) -> list[str]:
    """Return the services that run the image of the service, and so wait for its migrations."""
    services: dict[str, Any] = found["services"]
    return [name for name in services if "migrate" in services[name].get("depends_on", {})]


def build() -> str:
    """Build this checkout; return the image by a name that is this build's alone."""
    draft = f"{repository()}:build"
    try:
        # With what is new in the images below it, such as updates of Debian's.
        show("docker", "compose", "build", "--pull", "web", image=draft)
    except HandNeededError:
        say("Once more with the images that are here, in case that others could not be pulled.")
        show("docker", "compose", "build", "web", image=draft)
    number = run("docker", "image", "inspect", "--format", "{{.Id}}", draft).split(":")[-1]
    commit = run("git", "rev-parse", "--short", "HEAD", check=False) or "no-commit"
    image = f"{repository()}:{commit}-{number[:8]}"
    run("docker", "tag", draft, image)
    return image


def repository() -> str:
    """Return the name of the images that are built here; another checkout has another."""
    return variables().get("COMPOSE_PROJECT_NAME") or SLUG


def roll_back() -> int:
    """Run the image before this one; the schema stays, as migrations leave the old code working.

    Return the exit code.
    """
    require_docker()
    found = configuration()
    image = variables().get("PREVIOUS_APP_IMAGE")
    if not image:
        raise HandNeededError("There is nothing to go back to: .env has no PREVIOUS_APP_IMAGE.")
    if not run("docker", "image", "ls", "--quiet", image):
        pull(image)
    return roll_out(found, image, migrate=False)


def roll_out(found: dict[str, Any], image: str, *, migrate: bool) -> int:
    """Let every process run an image, and return the exit code.

    Nothing that serves is stopped until all that take over are ready; when one is not, what runs
    is left as it is. After that the new image serves, whatever may be wrong beside it.
    """
    before = ENVIRONMENT.read_text(encoding="utf-8")
    running, previous = (variables().get(name) for name in ("APP_IMAGE", "PREVIOUS_APP_IMAGE"))
    text = with_variable(before, "APP_IMAGE", image)
    if running and running != image:
        text = with_variable(text, "PREVIOUS_APP_IMAGE", running)
    old = {name: containers(name, "--all") for name in TAKE_OVER}
    # Before anything is started, as a container is replaced when what it was started with changes.
    write(ENVIRONMENT, text, 0o600)
    try:
        start_all(found, dependencies(found))
        if migrate:
            show("docker", "compose", "run", "--rm", "--no-deps", "--no-TTY", "migrate")
        for name in TAKE_OVER:
            wanted = int(found["services"][name].get("deploy", {}).get("replicas", 1))
            start(name, "--no-recreate", "--scale", f"{name}={len(old[name]) + wanted}")
        new = {name: newer(name, old[name]) for name in TAKE_OVER}
        for name in TAKE_OVER:
            wait_until_ready(name, new[name])
    except BaseException:
        for name in TAKE_OVER:
            for container in newer(name, old[name]):
                run("docker", "rm", "--force", container, check=False)
        write(ENVIRONMENT, before, 0o600)
        runs = "what ran before goes on, and .env says so" if running else "nothing runs yet"
        say(f"The deploy has failed: {runs}.")
        raise

    unwell = finish(found, old, new)
    remove_old_images(previous)
    say(f"{image} runs.")
    if unwell:
        say("\n".join(["It serves, but beside it something is not well:", *unwell]))
    return NOT_WELL if unwell else 0


def finish(found: dict[str, Any], old: Containers, new: Containers) -> list[str]:
    """Stop what was taken over and bring the others up to date; return what is not well."""
    others = [name for name in found["services"] if name not in {"migrate", *TAKE_OVER}]
    unwell = []
    for act in (
        *(functools.partial(retire, found, name, old[name], new[name]) for name in TAKE_OVER),
        *(functools.partial(start_all, found, [name]) for name in others),
    ):
        try:
            act()
        except HandNeededError as error:
            unwell.append(str(error))
    return unwell


def newer(service: str, old: Sequence[str]) -> list[str]:
    """Return the containers of a service that have come since."""
    return [name for name in containers(service, "--all") if name not in old]


def retire(found: dict[str, Any], service: str, old: Sequence[str], new: Sequence[str]) -> None:
    """Stop the old containers of a service, whose new ones are ready."""
    if not old:
        return
    proxied = service == "web" and "proxy" in found["services"] and containers("proxy")
    try:
        if proxied:
            # One that stops drops who is still in the queue at its door: first nobody may come.
            reload_proxy(new)
        say(f"Stopping the old {service}, which ends what it has begun.")
        run("docker", "stop", *old)
        run("docker", "rm", *old)
    finally:
        if proxied:
            reload_proxy()


def start_all(found: dict[str, Any], names: Sequence[str]) -> None:
    """Start services, and wait until all are healthy."""
    for name in names:
        start(name, *(["--force-recreate"] if is_outdated(found, name) else []))
    for name in names:
        wait_until_ready(name, containers(name, "--all"))


def is_outdated(found: dict[str, Any], name: str) -> bool:
    """Tell whether a file of this project that a container has mounted was written after its start.

    Compose compares the names of such files alone, and the container keeps what they were.
    """
    service = found["services"][name]
    sources = [Path(each["source"]) for each in service.get("volumes", ()) if "source" in each]
    sources += [
        Path(found["secrets"][each["source"]]["file"]) for each in service.get("secrets", ())
    ]
    files = [
        file
        for source in sources
        if ROOT in source.parents
        for file in (source, *source.rglob("*"))
        if file.is_file()
    ]
    written = max((file.stat().st_mtime for file in files), default=0)
    made = containers(name, "--all")
    created = run("docker", "inspect", "--format", "{{.Created}}", *made).split() if made else []
    return any(written > calendar.timegm(time.strptime(when[:19], ISO)) + 1 for when in created)


def start(name: str, *options: str) -> None:
    """Start a service, or replace what of it is not as the files say.

    Each alone: for Compose, what a service depends on and is started beside it is part of what it
    is, so that a container which was started alone would be replaced.
    """
    up = ("up", "--detach", "--no-build", "--no-deps", "--remove-orphans", *options, name)
    show("docker", "compose", "--progress=quiet", *up)


def dependencies(found: dict[str, Any]) -> list[str]:
    """Return the servers that web waits for, those first that others of them wait for."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        for other in found["services"].get(name, {}).get("depends_on", {}):
            if other in found["services"] and other not in ordered:
                visit(other)
                ordered.append(other)

    visit("web")
    return [name for name in ordered if name != "migrate"]


def reload_proxy(only: Sequence[str] = ()) -> None:
    """Let the proxy send requests to some containers of web alone, or to all of them."""
    names = [run("docker", "inspect", "--format", "{{.Name}}", name).strip("/") for name in only]
    options = ["--env", "WEB=" + " ".join(f"{name}:8000" for name in names)] if names else []
    command = ("caddy", "reload", "--config", "/etc/caddy/Caddyfile")
    run("docker", "compose", "exec", "--no-TTY", *options, "proxy", *command)


def wait_until_ready(service: str, names: list[str]) -> None:
    """Wait until containers are healthy, and until those of web can serve requests."""
    deadline = time.monotonic() + LONGEST_START
    for name in names:
        while problem := what_keeps(service, name):
            # One that ends is started again, so it is seen in between, too.
            if not problem.startswith("it is running") or time.monotonic() > deadline:
                say(run("docker", "logs", "--tail", "20", name, check=False))
                raise HandNeededError(f"{service} does not become ready: {problem}")
            time.sleep(1)


def what_keeps(service: str, name: str) -> str:
    """Return what keeps a container from being ready, or nothing."""
    state = "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}"
    found = run("docker", "inspect", "--format", state, name)
    if found not in {"running", "running healthy"}:
        return f"it is {found}."
    if service != "web":
        return ""
    probe = "python -m common.probe /ready/ 2>&1 && echo ready"
    said = run("docker", "exec", name, "sh", "-c", probe, check=False)
    return "" if said == "ready" else f"it is {found}. {said}"


def remove_old_images(previous: str | None) -> None:
    """Remove what was built here, and what ran before last, but for what runs and ran before."""
    kept = {variables().get("APP_IMAGE"), variables().get("PREVIOUS_APP_IMAGE")}
    name = "{{.Repository}}:{{.Tag}}"
    built = run("docker", "image", "ls", "--format", name, repository()).split()
    for image in {*built, *([previous] if previous else [])} - kept:
        run("docker", "image", "rm", image, check=False)


# ---- The checklist before the first deploy ------------------------------------------------------


def check() -> int:
    """Go through all that must be right; print a line for each, and return 1 if one is not."""
    require_docker()
    say("ok     Docker and Docker Compose answer and are new enough")
    found = configuration()
    say("ok     .env has what the compose files require")
    failures = 0
    for what, problems in checklist(found):
        if problems:
            failures += 1
            say("\n".join([f"WRONG  {what}", *(f"       {problem}" for problem in problems)]))
        else:
            say(f"ok     {what}")
    say(f"{failures} to mend." if failures else "All is well: make deploy")
    return 1 if failures else 0


def checklist(found: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield what must be right, and what is not."""
    services = found["services"]
    yield "secrets are there, and for nobody else", wrong_secrets(found)
    yield "secrets that belong together agree", disagreeing_secrets(services)
    yield "PostgreSQL is reached as POSTGRES_SSLMODE says", loose_connections(services)
    yield "git knows neither .env nor secrets/", known_to_git()
    yield "stopping takes longer than what runs may take to end", short_graces(services)
    yield "PostgreSQL has connections for the pool, and more", scarce_connections(services)
    yield "the machine has what the limits promise", scarce_machine(services)
    if "proxy" in services:
        yield "DOMAIN leads to an address", unknown_name(services["proxy"]["environment"])
        yield "the ports of the proxy are free, or its own", taken_ports(services["proxy"])
    else:
        say("       without the profile proxy, something else must end HTTPS and reach web:8000")
    if "backup" not in services:
        say("       without the profile backup, nothing here is backed up")
    for name, value in variables().items():
        if re.search(r"(SECRET|PASSWORD|TOKEN|_KEY)=|://[^/]*:[^/]+@", f"{name}={value}"):
            say(f"       {name} is in .env, and better a file: docs/deployment.md#secrets")


def wrong_secrets(found: dict[str, Any]) -> list[str]:
    """Return what is wrong with the files of secrets."""
    wrong = []
    try:
        require_secrets(found)
    except HandNeededError as error:
        wrong.append(str(error))
    if SECRETS.is_dir() and SECRETS.stat().st_mode & 0o077:
        wrong.append("secrets/ can be entered by others: chmod 700 secrets")
    closed = [path for path in SECRETS.glob("*") if not path.stat().st_mode & 0o004]
    wrong += [
        f"secrets/{path.name} cannot be read by the user of its container: chmod 444 it"
        for path in closed
    ]
    if len(secret("secret_key")) < 50:
        wrong.append("secrets/secret_key has less than 50 characters")
    return wrong


def disagreeing_secrets(services: dict[str, Any]) -> list[str]:
    """Return which address of a server has another password than the server."""
    passwords = {
        "database_url": ("postgres_password", secret("postgres_password")),
        "database_url_direct": ("postgres_password", secret("postgres_password")),
    }
    for server in {path.stem for path in SECRETS.glob("*.conf")} & services.keys():
        passwords[f"{server}_url"] = (f"{server}.conf", last_word(secret(f"{server}.conf")))
    return [
        f"secrets/{name} has another password than secrets/{other}"
        for name, (other, password) in passwords.items()
        if urllib.parse.unquote(urllib.parse.urlsplit(secret(name)).password or "") != password
    ]


def loose_connections(services: dict[str, Any]) -> list[str]:
    """Return what would reach PostgreSQL in another way, or not at all."""
    given = services["pgbouncer"]["environment"]
    mode, wrong = given["POSTGRES_SSLMODE"], []
    if mode.startswith("verify") and not given["POSTGRES_CA"]:
        wrong.append(f"for {mode}, let POSTGRES_CA_FILE name the certificate of the authority")
    if mode != "prefer" and f"sslmode={mode}" not in secret("database_url_direct"):
        wrong.append(
            f"secrets/database_url_direct has no sslmode={mode}: remove it, and `make deploy-init`"
        )
    return wrong


def known_to_git() -> list[str]:
    """Return what should be in no commit and is not ignored."""
    if run("git", "rev-parse", "--is-inside-work-tree", check=False) != "true":
        return []
    names = (".env", "secrets/secret_key")
    ignored = run("git", "check-ignore", *names, check=False).split()
    return [f"{name} is not ignored: add it to .gitignore" for name in names if name not in ignored]


def short_graces(services: dict[str, Any]) -> list[str]:
    """Return the services that are killed before what they do has had its time to end."""
    wrong = []
    for name, variable, default, grace in (
        ("web", "GUNICORN_GRACEFUL_TIMEOUT", "30", "WEB_GRACE"),
        # @if task_queue == "celery"
        ("worker", "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT", "60", "WORKER_GRACE"),
        # @endif
    ):
        service = services[name]
        needed = float(service["environment"].get(variable) or default) + 10
        if seconds(service["stop_grace_period"]) < needed:
            wrong.append(f"{name}: give {grace} in .env {needed:.0f}s or more, for {variable}")
    return wrong


def seconds(duration: str) -> float:
    """Return the seconds of a duration of Compose, such as 1m30s."""
    units = {"h": 3600, "m": 60, "s": 1}
    parts = re.findall(r"([\d.]+)([hms])", duration)
    return sum(float(number) * units[unit] for number, unit in parts)


def scarce_connections(services: dict[str, Any]) -> list[str]:
    """Return whether PgBouncer may take more connections than PostgreSQL has to give."""
    if "postgres" not in services:
        return []
    pool = services["pgbouncer"]["environment"]
    taken = int(pool["POOL_SIZE"]) + int(pool["RESERVE_POOL_SIZE"])
    found = re.search(r"max_connections=(\d+)", " ".join(services["postgres"]["command"]))
    limit = int(found[1]) if found else 100
    # For migrations, backups, monitoring, and a person who looks what is wrong.
    if taken + 15 > limit:
        return [f"PgBouncer takes {taken} of {limit}: PGBOUNCER_POOL_SIZE is too large by far"]
    return []


def scarce_machine(services: dict[str, Any]) -> list[str]:
    """Return which limits are more than this machine has."""
    cpus, memory = run("docker", "info", "--format", "{{.NCPU}} {{.MemTotal}}").split()
    wrong = [
        f"{name} may use {service['cpus']} processors of {cpus}"
        for name, service in services.items()
        if float(service.get("cpus", 0)) > int(cpus)
    ]
    promised = sum(int(service.get("mem_limit", 0)) for service in services.values())
    # Not all need theirs at a time; but half of it must be there.
    if promised > 2 * int(memory):
        wrong.append(
            f"the limits of memory are {promised >> 20} MB together, the machine has"
            f" {int(memory) >> 20}"
        )
    return wrong


def unknown_name(environment: dict[str, str]) -> list[str]:
    """Return whether the domain has no address."""
    if environment["TLS"] == "internal":
        return []
    try:
        socket.getaddrinfo(environment["DOMAIN"], 443)
    except OSError as error:
        return [f"{environment['DOMAIN']} has no address: {error}"]
    return []


def taken_ports(proxy: dict[str, Any]) -> list[str]:
    """Return which ports of the proxy another program holds."""
    if containers("proxy"):
        return []
    wrong = []
    for port in proxy["ports"]:
        if port["protocol"] == "tcp":
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind((port.get("host_ip", ""), int(port["published"])))
                except PermissionError:
                    # Docker may, who asks may not: then somebody answers there, or nobody.
                    address = (port.get("host_ip") or "127.0.0.1", int(port["published"]))
                    with contextlib.suppress(OSError), socket.create_connection(address, 1):
                        wrong.append(f"port {port['published']}: somebody answers there")
                except OSError as error:
                    wrong.append(f"port {port['published']}: {error.strerror}")
    return wrong


# ---- Smoke test ---------------------------------------------------------------------------------


def smoke(url: str = "") -> int:
    """Ask the service from outside; print a line for each point, and return 1 if one fails."""
    visitor = Visitor(url)
    say(f"Asking {visitor.url}")
    failures = 0
    for what, ask in (
        ("probes: /health/ and /ready/ answer", probes),
        ("DEBUG is off: a page that is not there tells nothing", debug_is_off),
        ("static files are served, and kept by browsers for ever", static_files),
        ("CSRF: a form without its token is refused, with it is heard", csrf),
        ("HTTPS: plain HTTP is sent there, and browsers insist on it", https),
    ):
        try:
            ask(visitor)
        except (HandNeededError, OSError, http.client.HTTPException) as error:
            failures += 1
            say(f"WRONG  {what}\n       {error}")
        else:
            say(f"ok     {what}")
    return 1 if failures else 0


class Visitor:
    """Somebody who opens pages of the service, without cookies."""

    def __init__(self, url: str) -> None:
        # A service on this machine, when no address is given, whatever its name leads to.
        self.address = ""
        self.port = 80
        self.tls = ssl.create_default_context()
        if not url:
            found = variables()
            if not found.get("DOMAIN"):
                raise HandNeededError(
                    ".env has no DOMAIN: give the address, as in `make smoke URL=https://…`."
                )
            published = found.get("HTTPS_PORT") or "443"
            url = f"https://{found['DOMAIN']}:{published.rpartition(':')[2]}"
            self.address = published.rpartition(":")[0] or "127.0.0.1"
            self.port = int((found.get("HTTP_PORT") or "80").rpartition(":")[2])
            if found.get("TLS") == "internal":
                root = "/data/caddy/pki/authorities/local/root.crt"
                certificate = run("docker", "compose", "exec", "-T", "proxy", "cat", root)
                self.tls = ssl.create_default_context(cadata=certificate)
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise HandNeededError(f"{url} is no address such as https://example.com.")
        # As a browser writes it, and so the header Host and Referer agree.
        self.url = f"https://{parts.netloc.removesuffix(':443')}"
        self.host = parts.hostname
        self.secure_port = parts.port or 443

    def ask(
        self, path: str, body: str | None = None, *, secure: bool = True, **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        """Return the answer to a request, and its text."""
        connection = Connection(self, secure=secure)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET" if body is None else "POST", path, body, names)
            response = connection.getresponse()
            return response, response.read().decode(errors="replace")
        finally:
            connection.close()


class Connection(http.client.HTTPConnection):
    """A connection to the service, by the name that its certificate is for."""

    def __init__(self, visitor: Visitor, *, secure: bool) -> None:
        self.default_port = 443 if secure else 80
        super().__init__(visitor.host, visitor.secure_port if secure else visitor.port, timeout=30)
        self.visitor = visitor
        self.secure = secure

    def connect(self) -> None:
        """Connect to the address, which need not be what the name leads to."""
        address = (self.visitor.address or self.visitor.host, self.port)
        self.sock = socket.create_connection(address, self.timeout)
        if self.secure:
            self.sock = self.visitor.tls.wrap_socket(self.sock, server_hostname=self.visitor.host)


def expect(response: http.client.HTTPResponse, status: int, where: str) -> None:
    """Raise HandNeededError when the answer has another status."""
    if response.status != status:
        raise HandNeededError(f"{where} answers {response.status} instead of {status}.")


def probes(visitor: Visitor) -> None:
    """Both say that all is well."""
    for path in ("/health/", "/ready/"):
        response, text = visitor.ask(path)
        if response.status != 200:
            raise HandNeededError(f"{path} answers {response.status}: {text[:200]}")


def debug_is_off(visitor: Visitor) -> None:
    """A page that is not there is Django's or the service's own, without what it knows."""
    response, text = visitor.ask(f"/{secrets.token_hex(8)}/")
    expect(response, 404, "An address that cannot exist")
    if "DEBUG = True" in text or "Traceback" in text:
        raise HandNeededError("A page that is not there shows settings or a traceback.")


def static_files(visitor: Visitor) -> None:
    """What a page refers to is there, under a name with a hash."""
    found: list[str] = []
    for path in ("/admin/login/", "/"):
        _, text = visitor.ask(path)
        found += re.findall(r'["\'](/static/[^"\']+)["\']', text)
    if not found:
        raise HandNeededError("Neither / nor /admin/login/ refers to a file below /static/.")
    for path in dict.fromkeys(found):
        response, _ = visitor.ask(path)
        expect(response, 200, path)
        if "immutable" not in response.headers.get("Cache-Control", ""):
            raise HandNeededError(f"{path} is not kept for ever: its name has no hash.")


def csrf(visitor: Visitor) -> None:
    """The form of the admin is heard with the token of its page alone."""
    path = "/admin/login/"
    response, text = visitor.ask(path)
    expect(response, 200, path)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
    cookies = response.headers.get_all("Set-Cookie") or []
    cookie = next((cookie for cookie in cookies if "csrftoken=" in cookie), "")
    if not token or not cookie:
        raise HandNeededError(f"{path} has no token against forged forms.")
    if "secure" not in cookie.lower():
        raise HandNeededError("The cookie of the token goes over plain HTTP, too.")
    form = "application/x-www-form-urlencoded"
    bare = urllib.parse.urlencode({"username": "nobody", "password": "none"})
    referer = f"{visitor.url}{path}"
    refused, _ = visitor.ask(path, bare, Content_Type=form, Referer=referer)
    expect(refused, 403, f"{path} without a token")
    whole = f"{bare}&csrfmiddlewaretoken={token[1]}"
    pair = cookie.partition(";")[0]
    heard, _ = visitor.ask(path, whole, Content_Type=form, Referer=referer, Cookie=pair)
    expect(heard, 200, f"{path} with a token")


def https(visitor: Visitor) -> None:
    """Plain HTTP leads to HTTPS, which browsers then insist on."""
    response, _ = visitor.ask("/health/", secure=False)
    target = response.headers.get("Location", "")
    if response.status not in {301, 302, 307, 308} or not target.startswith("https://"):
        raise HandNeededError(f"Plain HTTP answers {response.status} and does not lead to HTTPS.")
    response, _ = visitor.ask("/admin/login/")
    # With an age of 0, it would tell them to forget.
    if not re.search(r"max-age=0*[1-9]", response.headers.get("Strict-Transport-Security", "")):
        raise HandNeededError("No Strict-Transport-Security lets browsers insist on HTTPS.")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
