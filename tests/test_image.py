"""The production image: what it is made of, what is not in it, and how long it takes."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from tests.containers.production import PLANTED, Image, timed_build
from tests.environments import BROKERS
from tests.laboratory import NOWHERE
from tests.rendering import IN_CONTAINERS
from tests.servers import free_port
from tests.service import MEDIA_ENVIRONMENT, SEED_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.containers.engine import Engine
    from tests.containers.production import GetImage

each_variant = pytest.mark.parametrize("variant", IN_CONTAINERS)

# As an orchestrator that is careful starts it.
CAREFUL = ("--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
           "--security-opt=no-new-privileges")  # fmt: skip

MEGABYTES = 110

# By the name of a driver's package: what must be linked to the system's libpq.
DRIVERS = {"psycopg": "psycopg_c/pq*.so", "psycopg2": "psycopg2/_psycopg*.so"}


def run(engine: Engine, image: str, script: str, *options: str) -> str:
    """Run lines of a shell in a container of the image, and return what they print."""
    command = ("run", "--rm", *(options or CAREFUL), image, "bash", "-c", script)
    return engine.run(*command).stdout.strip()


@each_variant
def test_the_image_is_small(
    engine: Engine, image: GetImage, variant: str, record_property: Callable[[str, object], None]
) -> None:
    built = image(variant)
    base = engine.image("python:3.13-slim-trixie")
    sizes = [engine.inspect("image", name)["Size"] / 1e6 for name in (built.tag, base)]

    above = sizes[0] - sizes[1]

    record_property(
        "figure",
        f"image of {variant}: built in {built.cost}; {above:.0f} MB above its base",
    )
    assert above <= MEGABYTES


def test_a_cold_build_and_a_warm_one_are_timed(
    engine: Engine, image: GetImage, record_property: Callable[[str, object], None]
) -> None:
    built = image()
    cold = built.cost
    if cold.cached:
        # Something was there already; what the package managers keep is kept here, too.
        cold = timed_build(engine, built.project, f"{built.tag}-cold", "--no-cache")
    warm = timed_build(engine, built.project, f"{built.tag}-warm")
    engine.run("image", "rm", "--force", f"{built.tag}-cold", f"{built.tag}-warm", check=False)

    record_property("figure", f"image of default: cold in {cold}; warm in {warm}")
    assert (cold.cached, warm.cached) == (0, warm.steps)
    assert cold.steps == warm.steps > 10


@each_variant
def test_it_says_how_it_is_started(engine: Engine, image: GetImage, variant: str) -> None:
    config = engine.inspect("image", image(variant).tag)["Config"]

    assert config["User"] == "10001:10001"
    assert config["Cmd"][0] == "gunicorn"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "common.probe"]
    assert not config["Entrypoint"]
    assert list(config["ExposedPorts"]) == ["8000/tcp"]


@each_variant
def test_there_is_nothing_to_build_with(engine: Engine, image: GetImage, variant: str) -> None:
    tools = "cc c++ gcc g++ make ld git curl wget uv pg_config"

    # What is to be found shows that it is looked for.
    script = f"command -v {tools} python; find /opt/venv/bin -name 'pip*'"
    found = run(engine, image(variant).tag, script)

    assert found == "/opt/venv/bin/python"


@each_variant
def test_nothing_can_be_written_or_become_root(
    engine: Engine, image: GetImage, variant: str
) -> None:
    built = image(variant)

    folders = "/app /opt /usr /etc"
    everything = ("--network=none", "--user=0")

    # Not read-only here, where nothing at all could be written. What is to be found, a folder for
    # everybody and a program that is made for it, shows that the search finds.
    # It fails in the end, at folders that this user may not enter.
    find = f"find {folders} /run/lock -writable ! -type l 2>/dev/null || true"
    writable = run(engine, built.tag, find, "--network=none")
    owned = run(engine, built.tag, f"find {folders} -user 10001", *everything)
    plant = "touch /usr/planted && chmod u+s /usr/planted"
    privileged = run(engine, built.tag, f"{plant} && find / -xdev -perm /6000 -type f", *everything)

    assert (writable, owned, privileged) == ("/run/lock", "", "/usr/planted")


@each_variant
def test_what_lies_beside_the_source_is_not_in_any_layer(
    engine: Engine, image: GetImage, variant: str, tmp_path: Path
) -> None:
    engine.run("save", f"--output={tmp_path / 'image.tar'}", image(variant).tag)
    suspicious = re.compile(r"app/(\.env|\.git|\.venv|backups|media|secrets|tests)|.*\.sqlite3")

    names, found = set(), []
    for layer in layers(tmp_path / "image.tar"):
        for member in layer:
            names.add(member.name)
            content = layer.extractfile(member) if member.isfile() else None
            if suspicious.match(member.name) or (content and PLANTED.encode() in content.read()):
                found.append(member.name)

    assert {"app/manage.py", "app/src/pages/views.py"} <= names
    assert found == []


def layers(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open each layer of an image that was saved to a file."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=tar.extractfile(name)) as layer:
                yield layer


@each_variant
def test_no_secret_is_in_its_variables_or_its_history(
    engine: Engine, image: GetImage, variant: str
) -> None:
    built = image(variant)
    history = engine.run("history", "--no-trunc", "--format={{.CreatedBy}}", built.tag).stdout
    variables = engine.inspect("image", built.tag)["Config"]["Env"]

    secret = re.compile(r"(?i)(secret|password|token|dsn|_key)\w*=\S")
    lines = [*history.splitlines(), *variables]

    assert "libpq5" in history
    assert [line for line in lines if secret.search(line)] == []


@each_variant
def test_the_driver_uses_the_libpq_of_the_system(
    engine: Engine, image: GetImage, variant: str
) -> None:
    driver = IN_CONTAINERS[variant].get("postgres_driver", "psycopg")
    libraries = "/opt/venv/lib/python3.13/site-packages"

    linked = run(engine, image(variant).tag, f"ldd {libraries}/{DRIVERS[driver]}")

    assert re.search(r"libpq\.so\.5 => (/usr)?/lib/\w+-linux-gnu/libpq\.so\.5 ", linked)
    if driver == "psycopg":
        script = "python -c 'import psycopg; print(psycopg.pq.__impl__)'"
        assert run(engine, image(variant).tag, script) == "c"


@each_variant
def test_it_starts_without_a_network_and_with_nothing_to_write_on(
    engine: Engine, image: GetImage, variant: str
) -> None:
    answers = IN_CONTAINERS[variant]
    variables = {
        **SEED_ENVIRONMENT,
        **NOWHERE,
        **MEDIA_ENVIRONMENT[answers.get("media_storage", "none")],
        "CELERY_BROKER_URL": BROKERS[answers.get("broker", "redis")],
        "TRUST_X_FORWARDED_PROTO": "1",
    }
    # One user that the image does not know, as OpenShift chooses it.
    user = "1000700000:0" if variant == "rabbitmq" else "10001:10001"
    options = [f"--user={user}", *(f"--env={name}={value}" for name, value in variables.items())]
    with container(engine, image(variant), *options) as name:
        (check,) = [engine.inspect("container", name)["Config"]["Healthcheck"]["Test"][1:]]
        wait_until(lambda: engine.run("exec", name, *check, check=False).returncode == 0)

        page = engine.run("exec", name, "python", "-c", PAGE).stdout.split()
        engine.run("stop", "--time=40", name)

        assert page == ["200", "200"]
        assert engine.inspect("container", name)["State"]["ExitCode"] == 0


# The first page, and the first static file that it names, as the proxy asks for them.
PAGE = """
import re, urllib.request

def get(path):
    headers = {"Host": "yourdomain.com", "X-Forwarded-Proto": "https"}
    request = urllib.request.Request("http://127.0.0.1:8000" + path, headers=headers)
    with urllib.request.urlopen(request) as answer:
        print(answer.status)
        return answer.read().decode()

get(re.search(r'"(/static/[^"]+)"', get("/"))[1])
"""


@contextlib.contextmanager
def container(engine: Engine, image: Image, *options: str) -> Iterator[str]:
    """Start a container of the image, and show its log when the test fails."""
    name = f"shipshape-image-{free_port()}"
    engine.run("run", "--detach", f"--name={name}", *CAREFUL, *options, image.tag)
    try:
        yield name
    except BaseException:
        log = engine.run("logs", name)
        print(log.stdout + log.stderr)
        raise
    finally:
        engine.run("rm", "--force", name)


def wait_until(ready: Callable[[], bool]) -> None:
    """Wait for at most a minute."""
    for _ in range(60):
        if ready():
            return
        time.sleep(1)
    pytest.fail("A minute was not enough.")


MISSING = {
    "default": ("uv.lock", "uv.lock is missing: run 'make setup' and commit it."),
    "rabbitmq": (
        "requirements/production.lock.txt",
        "requirements/production.lock.txt is missing: run 'make setup' and commit it.",
    ),
}


@pytest.mark.parametrize("variant", MISSING)
def test_a_missing_lock_is_told(
    engine: Engine, locked: Callable[[str], Path], variant: str, tmp_path: Path
) -> None:
    lock, sentence = MISSING[variant]
    project = shutil.copytree(locked(variant), tmp_path / "project")
    (project / lock).unlink()

    done = engine.build(project, "shipshape-test/unlocked", check=False)

    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr


INSTALLED = {"default": "--no-install-project", "rabbitmq": "--require-hashes"}


@pytest.mark.parametrize("variant", INSTALLED)
def test_a_change_of_code_installs_no_dependency_again(
    engine: Engine,
    image: GetImage,
    variant: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    project = shutil.copytree(image(variant).project, tmp_path / "project")
    with (project / "src/pages/views.py").open("a", encoding="utf-8") as file:
        file.write(f"\n# Changed: {tmp_path}\n")
    started = time.monotonic()

    said = engine.build(project, f"shipshape-test/{variant}-changed").stderr

    seconds = time.monotonic() - started
    record_property("figure", f"image of {variant}: built after a change in {seconds:.0f} s")
    step = re.search(rf"(?m)^#(\d+) \[builder .*{INSTALLED[variant]}", said)
    assert step is not None
    assert f"#{step[1]} CACHED" in said
    engine.run("image", "rm", f"shipshape-test/{variant}-changed")


def test_a_team_adds_packages_and_steps(
    engine: Engine, locked: Callable[[str], Path], tmp_path: Path
) -> None:
    project = shutil.copytree(locked("default"), tmp_path / "project")
    docker = project / "deploy/docker"
    with (docker / "packages.txt").open("a", encoding="utf-8") as file:
        file.write("# for reports\nsqlite3 # a small one\n")
    with (docker / "build-packages.txt").open("a", encoding="utf-8") as file:
        file.write("gettext-base\n")
    with (docker / "build.sh").open("a", encoding="utf-8") as file:
        file.write("COUNTRY=Norway envsubst > src/country.txt <<< 'In $COUNTRY'\n")
        file.write("python -c 'import django; print(django.VERSION)'\n")

    added = "shipshape-test/added"
    engine.build(project, added)

    # The last is a package of the build alone, so the shell fails at it.
    script = "cat src/country.txt; command -v sqlite3 envsubst"
    assert run(engine, added, f"{script} || true").splitlines() == ["In Norway", "/usr/bin/sqlite3"]
