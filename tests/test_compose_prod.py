"""Production on one server: what its compose files promise, and what they do when started."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.server import DOMAIN, LIVENESS, READINESS, Load, Server, add_drill, set_up
from tests.rendering import IN_CONTAINERS
from tests.servers import S3Server, StandIn, browse, browser, free_port, http_request, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.containers.engine import Engine
    from tests.containers.production import GetImage
    from tests.rendering import Render

# ---- What the files say -------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "pip rabbitmq local": {
        "package_manager": "pip",
        "postgres_driver": "psycopg2",
        "broker": "rabbitmq",
        "media_storage": "local",
    },
    "no tasks": {"task_queue": "none", "media_storage": "s3"},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)
# What each profile starts, beside what always runs; and what of that there is for tasks alone.
ALWAYS = {"web", "worker", "beat", "migrate", "pgbouncer"}
PROFILES = {
    "proxy": {"proxy"},
    "postgres": {"postgres"},
    "redis": {"cache", "broker"},
    "rabbitmq": {"broker"},
    "backup": {"backup"},
    "logs": {"alloy", "loki"},
    "monitoring": {"flower", "grafana", "prometheus", "queues"},
}
OF_TASKS = {"worker", "beat", "broker", "flower", "queues"}


def initialised(render: Render, target: Path, variant: str, *given: str) -> Path:
    """Return a checkout with .env and secrets."""
    shutil.copytree(render(**VARIANTS[variant]), target)
    deploy(target, "init", *(given or (f"DOMAIN={DOMAIN}", "TLS=internal")))
    return target


def deploy(checkout: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run scripts/deploy.py."""
    command = [sys.executable, "scripts/deploy.py", *words]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done


def merged(engine: Engine, checkout: Path, profile: str = "*") -> dict[str, Any]:
    """Return what compose makes of the files with a profile, or with every one."""
    words = ("compose", "config", "--format", "json")
    # From the environment, which counts for more than .env.
    profiles = {"COMPOSE_PROFILES": profile}
    found: dict[str, Any] = json.loads(engine.run(*words, cwd=checkout, env=profiles).stdout)
    return found


@pytest.fixture
def policy(engine: Engine, render: Render, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Return what compose makes of a variant's files: `policy("default")["services"]`."""

    def get(variant: str) -> dict[str, Any]:
        return merged(engine, initialised(render, tmp_path / "checkout", variant))

    return get


REQUIRED = {
    "DOMAIN": "name the host of this service, such as example.com, in .env",
    "TLS": "give an address for Let's Encrypt, or the word internal, in .env",
}


@each_variant
def test_a_required_variable_that_is_missing_is_told_by_a_sentence(
    engine: Engine, render: Render, tmp_path: Path, variant: str
) -> None:
    checkout = initialised(render, tmp_path / "checkout", variant)
    whole = (checkout / ".env").read_text(encoding="utf-8")
    said = {}
    for name in REQUIRED:
        (checkout / ".env").write_text(re.sub(rf"(?m)^{name}=.*$", "", whole), encoding="utf-8")
        done = engine.run("compose", "--profile", "*", "config", cwd=checkout, check=False)
        assert done.returncode != 0, name
        said[name] = done.stderr

    for name, sentence in REQUIRED.items():
        assert f"required variable {name} is missing a value: {sentence}" in said[name]
    files = [checkout / "docker-compose.prod.yml", *checkout.glob("deploy/*/compose.yml")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert {name for text in texts for name in re.findall(r"\$\{(\w+):?\?", text)} == {*REQUIRED}


@each_variant
def test_every_service_of_the_project_is_known_here(
    engine: Engine, render: Render, tmp_path: Path, variant: str
) -> None:
    """What is not looked at below would be held to nothing."""
    checkout = initialised(render, tmp_path / "checkout", variant)
    answers = VARIANTS[variant]
    gone = set() if answers.get("task_queue") != "none" else OF_TASKS
    other = "redis" if answers.get("broker") == "rabbitmq" else "rabbitmq"
    expected = {
        name: (services - {"broker"} if name == other else services) - gone
        for name, services in PROFILES.items()
    }

    found = {name: {*merged(engine, checkout, name)["services"]} for name in ("", *PROFILES, "*")}

    assert found.pop("") == ALWAYS - gone
    assert found.pop("*") == {*ALWAYS - gone}.union(*expected.values())
    assert {name: services - ALWAYS for name, services in found.items()} == expected


@each_variant
def test_every_container_is_hardened(policy: Callable[[str], dict[str, Any]], variant: str) -> None:
    for name, service in policy(variant)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else []), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert float(service["cpus"]) <= 1, f"{name}: Docker refuses more than a machine has"
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"].keys() >= {"max-size", "max-file"}, name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & service.keys(), name


@each_variant
def test_every_container_says_in_its_own_way_whether_it_is_alive(
    policy: Callable[[str], dict[str, Any]], variant: str
) -> None:
    services = policy(variant)["services"]
    tests = {
        name: " ".join(service["healthcheck"].get("test", ["disabled"]))
        for name, service in services.items()
    }

    assert tests["web"].endswith("common.probe")
    assert services["migrate"]["healthcheck"] == {"disable": True}
    for name in {"worker", "beat"} & services.keys():
        assert tests[name].endswith(f"common.heartbeat {name}")
    assert [name for name, test in tests.items() if "disabled" in test] == ["migrate"]


@each_variant
def test_only_the_proxy_can_be_reached_from_outside(
    policy: Callable[[str], dict[str, Any]], variant: str
) -> None:
    services = policy(variant)["services"]

    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]
    assert {str(port["target"]) for port in services["proxy"]["ports"]} == {"80", "443"}


@each_variant
def test_only_what_must_reaches_the_database(
    policy: Callable[[str], dict[str, Any]], variant: str
) -> None:
    found = policy(variant)

    def members(network: str) -> set[str]:
        return {
            name for name, service in found["services"].items() if network in service["networks"]
        }

    assert found["networks"]["database"]["internal"] is True
    assert members("database") == {"postgres", "pgbouncer", "migrate"} | (
        {"backup", "postgres-exporter"} & found["services"].keys()
    )
    assert members("front") == {"proxy", "web"}
    assert not {"proxy", "postgres"} & members("back")


@each_variant
def test_what_serves_waits_for_the_migrations_and_for_its_servers(
    policy: Callable[[str], dict[str, Any]], variant: str
) -> None:
    services = policy(variant)["services"]

    def waits(name: str) -> dict[str, tuple[str, bool]]:
        waited = services[name].get("depends_on", {})
        return {other: (how["condition"], how["required"]) for other, how in waited.items()}

    tasks = {"broker": ("service_healthy", False)} if variant != "no tasks" else {}
    for name in {"web", "worker", "beat"} & services.keys():
        assert waits(name) == {
            "migrate": ("service_completed_successfully", True),
            "pgbouncer": ("service_healthy", True),
            "cache": ("service_healthy", False),
            **tasks,
        }, name
    assert waits("migrate") == waits("pgbouncer") == {"postgres": ("service_healthy", False)}


@each_variant
def test_a_cache_that_is_full_makes_room_and_a_broker_loses_nothing(
    policy: Callable[[str], dict[str, Any]], variant: str
) -> None:
    services = policy(variant)["services"]

    def option(name: str, key: str) -> str:
        words: list[str] = services[name]["command"]
        return words[words.index(f"--{key}") + 1]

    assert option("cache", "maxmemory-policy") == "allkeys-lru"
    assert option("cache", "save") == ""
    redis = [
        name for name in ("cache", "broker") if "redis" in services.get(name, {}).get("image", "")
    ]
    for name in redis:
        megabytes = int(option(name, "maxmemory").removesuffix("mb"))
        assert megabytes << 20 < int(services[name]["mem_limit"]), name
    if variant == "default":
        assert redis == ["cache", "broker"]
        assert option("broker", "maxmemory-policy") == "noeviction"
        assert option("broker", "appendonly") == "yes"
        assert [each["target"] for each in services["broker"]["volumes"]] == ["/data"]


@each_variant
def test_secrets_are_files_and_only_where_they_are_read(
    policy: Callable[[str], dict[str, Any]], variant: str
) -> None:
    found = policy(variant)
    secret = re.compile(r"(SECRET|PASSWORD|_KEY|DATABASE_URL|CACHE_URL|BROKER_URL|EMAIL_URL)")

    for name, service in found["services"].items():
        said = {
            key: text for key, text in (service.get("environment") or {}).items()
            if secret.search(key) and text and not text.startswith("/run/secrets/")
        }  # fmt: skip
        assert said == {}, name
    sources = {
        name: {each["source"] for each in service.get("secrets", [])}
        for name, service in found["services"].items()
    }
    assert not {"database_url_direct", "postgres_password"} & sources["web"]
    assert "database_url" not in sources["migrate"]
    assert "secrets" not in found["services"]["proxy"]
    # What is not given is empty, and mounted in any case.
    optional = {"email_url", *({"aws_secret_access_key"} if variant == "no tasks" else set())}
    assert {found["secrets"][name]["file"] for name in optional} == {"/dev/null"}
    readers = [name for name, mounted in sources.items() if "secret_key" in mounted]
    assert {"web", "migrate"} <= {*readers}
    for name in readers:
        assert optional <= sources[name], name


def test_a_secret_that_a_team_has_mounted_itself_stays(
    engine: Engine, render: Render, tmp_path: Path
) -> None:
    checkout = initialised(render, tmp_path / "checkout", "default")
    (checkout / "docker-compose.prod.override.yml").write_text(
        "services:\n  web:\n    environment: {EMAIL_URL_FILE: /run/secrets/email_url}\n"
        "    secrets: [email_url]\nsecrets:\n  email_url: {file: secrets/email_url}\n"
    )

    found = merged(engine, checkout)

    assert found["secrets"]["email_url"]["file"] == str(checkout / "secrets/email_url")
    names = [each["source"] for each in found["services"]["web"]["secrets"]]
    assert names.count("email_url") == 1


def test_the_secret_of_a_bucket_is_mounted_and_in_no_variable(
    engine: Engine, render: Render, image: GetImage, tmp_path: Path
) -> None:
    name = f"shipshape-bucket-{free_port()}"
    given = (f"APP_IMAGE={image().tag}", "AWS_SECRET_ACCESS_KEY_FILE=secrets/bucket")
    names = (f"DOMAIN={DOMAIN}", "TLS=internal", f"COMPOSE_PROJECT_NAME={name}")
    checkout = initialised(render, tmp_path / "checkout", "no tasks", *names, *given)
    (checkout / "secrets/bucket").write_text("hush-hush\n")
    compose = engine.compose(checkout, name)
    try:
        compose.run("run", "--detach", "--no-deps", f"--name={name}", "web", "sleep", "60")
        file = "/run/secrets/aws_secret_access_key"
        read = engine.run("exec", name, "sh", "-c", f"cat {file} /run/secrets/email_url").stdout
        shown = engine.run("inspect", name).stdout
    finally:
        engine.run("rm", "--force", name, check=False)
        compose.down()

    assert read == "hush-hush\n"
    assert f"AWS_SECRET_ACCESS_KEY_FILE={file}" in shown
    assert "hush-hush" not in shown


@each_variant
def test_every_image_is_of_a_version_and_can_be_replaced_by_a_variable(
    policy: Callable[[str], dict[str, Any]], render: Render, variant: str
) -> None:
    for name, service in policy(variant)["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert tag, name
        assert tag != "latest", name
    text = (render(**VARIANTS[variant]) / "docker-compose.prod.yml").read_text(encoding="utf-8")
    images = re.findall(r"^ +image: (.*)$", text, re.MULTILINE)
    assert [image for image in images if not re.match(r'"\$\{[A-Z]+_IMAGE:-', image)] == []


@pytest.mark.parametrize("tls", ["internal", "ops@example.com"])
@each_variant
def test_the_proxy_understands_its_file_which_is_formatted(
    engine: Engine, render: Render, variant: str, tls: str
) -> None:
    file = render(**VARIANTS[variant]) / "deploy/proxy/Caddyfile"
    variables = (f"--env=DOMAIN={DOMAIN}", f"--env=TLS={tls}", "--env=MAX_BODY=10MB")
    inside = "/etc/caddy/Caddyfile"

    done = engine.run(
        *("run", "--rm", f"--volume={file}:{inside}:ro", *variables, engine.image("caddy:2")),
        *("sh", "-c", f"caddy adapt --config {inside} --validate >/dev/null && caddy fmt {inside}"),
    )

    assert done.stdout == file.read_text(encoding="utf-8")


def test_a_service_of_the_teams_joins_those_of_the_template(
    engine: Engine, render: Render, tmp_path: Path
) -> None:
    checkout = initialised(render, tmp_path / "checkout", "default")
    (checkout / "docker-compose.prod.override.yml").write_text(
        'services:\n  search:\n    image: "search:1"\n    networks: [back]\n'
        "  web:\n    environment: {SEARCH_URL: http://search}\n    mem_limit: 1G\n"
    )

    services = merged(engine, checkout)["services"]

    assert services["search"]["networks"] == {"back": None}
    assert services["web"]["mem_limit"] == str(1 << 30)
    assert services["web"]["environment"]["SEARCH_URL"] == "http://search"
    assert services["web"]["environment"]["PGBOUNCER"] == "1"


# ---- The script on the server -------------------------------------------------------------------


def test_init_writes_what_is_missing_and_nothing_else(render: Render, tmp_path: Path) -> None:
    checkout = initialised(render, tmp_path / "checkout", "default")
    secrets = checkout / "secrets"
    first = {path.name: path.read_text(encoding="utf-8") for path in secrets.iterdir()}
    (secrets / "database_url_direct").unlink()
    (secrets / "cache_url").unlink()

    deploy(checkout, "init")

    assert {path.name: path.read_text(encoding="utf-8") for path in secrets.iterdir()} == first
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert len({first[name] for name in ("secret_key", "postgres_password", "cache.conf")}) == 3


def test_env_is_read_as_compose_reads_it(engine: Engine, render: Render, tmp_path: Path) -> None:
    checkout = initialised(render, tmp_path / "checkout", "default")
    lines = {
        "PLAIN": "a b",
        "COMMENT": "a  # to be changed",
        "HASH": "a#b",
        "QUOTED": '"a # b" # c',
        "SINGLE": "'a' # b",
        "INNER": "a'b'",
        "EMPTY": "",
    }
    with (checkout / ".env").open("a") as file:
        file.writelines(f"{name}={text}\n" for name, text in lines.items())
    code = "from deploy import variables; import json; print(json.dumps(variables()))"

    ours = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={"PYTHONPATH": str(checkout / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )

    theirs = merged(engine, checkout)["services"]["web"]["environment"]
    found = json.loads(ours.stdout)
    assert {name: found[name] for name in lines} == {name: theirs[name] for name in lines}


def test_init_leaves_a_developers_variables_alone(render: Render, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(render(), checkout)
    (checkout / ".env").write_text("SECRET_KEY=only-here\n")

    done = deploy(checkout, "init", "DOMAIN=x", check=False)

    assert done.returncode == 1
    assert "is that of a developer" in done.stderr
    assert (checkout / ".env").read_text() == "SECRET_KEY=only-here\n"
    assert not (checkout / "secrets").exists()


@pytest.fixture
def checkout(engine: Engine, render: Render, tmp_path: Path) -> Path:
    """Return a checkout in which all is well, on free ports, beside an engine that answers."""
    assert engine.client
    ports = (f"HTTP_PORT=127.0.0.1:{free_port()}", f"HTTPS_PORT=127.0.0.1:{free_port()}")
    names = (f"DOMAIN={DOMAIN}", "TLS=internal", f"COMPOSE_PROJECT_NAME=shipshape-{free_port()}")
    return initialised(render, tmp_path / "checkout", "default", *names, *ports)


def test_the_checklist_finds_nothing_where_all_is_well(checkout: Path) -> None:
    done = deploy(checkout, "check", check=False)

    assert "WRONG" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("rm secrets/secret_key", "secret_key missing in secrets/"),
        ("chmod 755 secrets", "secrets/ can be entered by others"),
        ("chmod 400 secrets/cache_url", "secrets/cache_url cannot be read by the user"),
        ("chmod u+w secrets/postgres_password && echo other > secrets/postgres_password",
         "secrets/database_url has another password than secrets/postgres_password"),
        ("echo POSTGRES_SSLMODE=verify-full >> .env", "for verify-full, let POSTGRES_CA_FILE name"),
        ("echo POSTGRES_SSLMODE=require >> .env", "database_url_direct has no sslmode=require"),
        ("echo GUNICORN_GRACEFUL_TIMEOUT=100 >> .env", "web: give WEB_GRACE in .env 110s or more"),
        ("echo CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT=600 >> .env", "WORKER_GRACE in .env 610s"),
        ("echo PGBOUNCER_POOL_SIZE=90 >> .env", "PgBouncer takes 95 of 100"),
        ("echo WEB_CPUS=512 >> .env", "web may use 512 processors of"),
        ("echo POSTGRES_MEMORY=9000G >> .env", "the limits of memory are"),
        ("sed -i s/^TLS=.*/TLS=a@example.com/ .env", f"{DOMAIN} has no address"),
        ("sed -i s/^DOMAIN=.*/DOMAIN=/ .env", "required variable DOMAIN is missing"),
        ("rm .env", ".env is missing: `make deploy-init` writes it"),
        ("git init -q && sed -i /secrets/d .gitignore", "secrets/secret_key is not ignored"),
    ],
)  # fmt: skip
def test_the_checklist_names_what_is_wrong(checkout: Path, fault: str, sentence: str) -> None:
    subprocess.run(["bash", "-c", fault], cwd=checkout, check=True)

    done = deploy(checkout, "check", check=False)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_checklist_tells_of_a_secret_in_env(checkout: Path) -> None:
    with (checkout / ".env").open("a") as file:
        file.write("EMAIL_URL=smtp://user:hush@mail.example.com\n")

    done = deploy(checkout, "check", check=False)

    assert done.returncode == 0, done.stderr
    assert "EMAIL_URL is in .env, and better a file" in done.stderr
    assert "hush" not in done.stderr


def test_the_checklist_names_a_port_that_is_taken(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = (checkout / ".env").read_text()
        (checkout / ".env").write_text(
            re.sub(r"(?m)^HTTP_PORT=.*$", f"HTTP_PORT=127.0.0.1:{port}", text)
        )
        done = deploy(checkout, "check", check=False)

    assert f"port {port}: Address already in use" in done.stderr


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("version", "Docker 2.12.0 is too old: install 20.10 or newer."),
        ("compose", "Docker Compose 2.12.0 is too old: install 2.24 or newer."),
    ],
)
def test_a_docker_that_is_too_old_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, program: str, sentence: str
) -> None:
    docker = checkout / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = {program} ] && echo 2.12.0 && exit\necho 99.0\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(checkout), prepend=":")

    done = deploy(checkout, "deploy", check=False)

    assert (done.returncode, done.stderr.strip()) == (1, sentence)


def test_what_takes_over_starts_beside_what_runs_once_the_schema_is_there(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one run of the script with a Docker that only notes what it is told."""
    checkout = tmp_path / "checkout"
    shutil.copytree(render(), checkout)
    (checkout / ".env").write_text("APP_IMAGE=service:1\n", encoding="utf-8")
    roll_out = runpy.run_path(str(checkout / "scripts/deploy.py"))["roll_out"]
    containers = {"web": ["web-1"], "worker": ["worker-1"]}
    noted: list[str] = []

    def docker(*command: str, **_: object) -> str:
        name = command[-1]
        if "ps" in command:
            return " ".join(containers.get(name, []))
        if "up" in command and name in containers:
            containers[name] += [f"{name}-2"]
            if "--no-recreate" not in command:
                noted.append(f"stop {containers[name].pop(0)}")
        noted.append(" ".join(command))
        return ""

    inside = {
        "run": docker,
        "show": docker,
        "wait_until_ready": lambda _, names: noted.extend(f"{name} is ready" for name in names),
    }
    for name, stand_in in inside.items():
        monkeypatch.setitem(roll_out.__globals__, name, stand_in)
    waits: dict[str, Any] = {"depends_on": {"migrate": {}, "cache": {}}}
    found = {"services": {"web": waits, "worker": waits, "migrate": {}, "cache": {}}, "secrets": {}}

    assert roll_out(found, "service:2", migrate=True) == 0

    order = ["cache", "--no-TTY migrate", "web=2 web", "worker=2 worker"]
    order += ["web-2 is ready", "worker-2 is ready", "stop web-1", "stop worker-1"]
    told = [next((step for step in order if line.endswith(step)), "") for line in noted]
    assert [step for step in dict.fromkeys(told) if step] == order, noted
    assert not {"web-1 is ready", "worker-1 is ready"} & {*noted}


def test_what_a_wait_in_vain_was_for_is_told(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container is made up; its probe is real, and asks a service that is not ready."""
    wait = runpy.run_path(str(render() / "scripts/deploy.py"))["wait_until_ready"]

    class NotReady(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b'{"checks": {"cache": false}}')

    with StandIn(NotReady) as service:
        environment = {
            "PATH": str(Path(sys.executable).parent),
            "PORT": str(service.port),
            "PYTHONDONTWRITEBYTECODE": "1",  # the rendered tree is others', too
        }

        def docker(*command: str, **_: object) -> str:
            if "exec" not in command:
                return "running healthy"
            shell = ["/bin/sh", *command[command.index("sh") + 1 :]]
            done = subprocess.run(
                shell,
                cwd=render() / "src",
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            return done.stdout.strip()

        monkeypatch.setitem(wait.__globals__, "run", docker)
        monkeypatch.setitem(wait.__globals__, "LONGEST_START", 0)
        with pytest.raises(wait.__globals__["HandNeededError"]) as told:
            wait("web", ["web-1"])

    assert str(told.value) == (
        "web does not become ready: it is running healthy."
        f' /ready/ on port {service.port} answers 503: {{"checks": {{"cache": false}}}}'
    )


DOCKER = """#!/bin/sh
echo "$*" >> calls
case "$*" in
    *--pull*) echo "no registry can be reached" >&2; exit 1 ;;
    "image inspect"*) echo sha256:0123456789abcdef ;;
esac
"""


def test_a_build_takes_the_images_that_are_here_where_no_newer_can_be_had(
    render: Render, tmp_path: Path
) -> None:
    checkout = initialised(render, tmp_path / "checkout", "default")
    docker = checkout / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)

    built = subprocess.run(
        [sys.executable, "-c", "from deploy import build; print(build())"],
        cwd=checkout,
        env={"PYTHONPATH": "scripts", "PATH": f"{checkout}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    calls = (checkout / "calls").read_text().splitlines()
    assert calls[:2] == ["compose build --pull web", "compose build web"]
    assert built.stdout.strip().endswith("-01234567")
    assert "Once more with the images that are here" in built.stderr


# ---- Started ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(engine: Engine) -> Iterator[S3Server]:
    """Start a store that containers reach as one that is managed elsewhere."""
    network = f"shipshape-store-{free_port()}"
    engine.run("network", "create", network)
    try:
        with S3Server(engine.gateway(network)) as server:
            yield server
    finally:
        engine.run("network", "rm", network)


def in_bucket(store: S3Server) -> dict[str, str]:
    """Return the variables that let a service keep its uploads in a bucket."""
    return {
        "AWS_STORAGE_BUCKET_NAME": store.new_bucket(),
        "AWS_S3_ENDPOINT_URL": store.url,
        "AWS_S3_ADDRESSING_STYLE": "path",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY_FILE": "secrets/bucket",
    }


@pytest.fixture(scope="module")
def start(
    engine: Engine, image: GetImage, store: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Server]]:
    """Return a server on which a variant runs: `start("default")`; one at a time."""
    running: dict[str, Server] = {}

    def get(variant: str) -> Server:
        if variant not in running:
            stop()
            built = image(variant)
            folder = tmp_path_factory.mktemp("server")
            tag = f"shipshape-test/drill-{variant}"
            in_store = in_bucket(store) if variant == "s3" else {}
            add_drill(engine, built.tag, tag, folder / "image", "my_service")
            checkout = set_up(built.project, folder / "checkout")
            name = f"shipshape-{variant}-{free_port()}"
            running[variant] = Server(engine, checkout, name, **in_store)
            if variant == "s3":
                (checkout / "secrets/bucket").write_text("hush-hush-hush\n")
            if variant == "default":
                (checkout / "secrets/email_url").write_text("smtps://ada:hush-hush@mail.test\n")
                running[variant].set("EMAIL_URL_FILE", "secrets/email_url")
            running[variant].script("deploy", tag)
        return running[variant]

    def stop() -> None:
        for name in list(running):
            running.pop(name).remove()

    try:
        yield get
    finally:
        stop()


@pytest.fixture
def server(start: Callable[[str], Server]) -> Server:
    """Return a server on which the default variant runs."""
    return start("default")


def test_no_secret_is_in_the_variables_of_a_container(server: Server) -> None:
    numbers = server.compose.run("ps", "--all", "--quiet").stdout.split()
    shown = server.engine.run("inspect", *numbers).stdout
    code = "from my_service.settings.defaults.environment import EMAIL; print(EMAIL['password'])"

    # The configuration of a server is its password and a word before it.
    files = {path.name: path.read_text() for path in (server.checkout / "secrets").iterdir()}
    secrets = {name: text.split()[-1] for name, text in files.items()}
    assert {"secret_key", "postgres_password", "cache.conf", "email_url"} <= secrets.keys()
    assert [name for name, secret in secrets.items() if secret in shown] == []
    for service in ("web", "worker", "beat"):
        assert server.compose.execute(service, "python", "-c", code).stdout == "hush-hush\n"


def test_a_client_cannot_claim_https(server: Server) -> None:
    answer = server.get("/drill/page/", headers={"X-Forwarded-Proto": "http"})

    assert json.loads(answer.body)["secure"] is True


def test_the_log_has_the_address_that_the_proxy_has_seen(server: Server) -> None:
    path = f"/drill/count/{free_port()}/"
    front = server.engine.inspect("network", f"{server.compose.name}_front")

    server.get(path, headers={"X-Forwarded-For": "203.0.113.7"})

    # Who comes from the host has the address that the host has in the proxy's network.
    found = server.wait_for_log("web", f'"path": "{path}"')
    assert found["remote_addr"] == front["IPAM"]["Config"][0]["Gateway"]


def test_the_smoke_test_names_what_is_wrong(server: Server) -> None:
    server.compose.run("stop", "cache")
    try:
        server.wait_for("/ready/", 503)
        done = server.script("smoke", check=False)
    finally:
        server.compose.run("start", "cache")
        server.wait_for("/ready/")

    assert done.returncode == 1
    assert (
        'WRONG  probes: /health/ and /ready/ answer\n       /ready/ answers 503: {"' in done.stderr
    )
    assert done.stderr.count("\nok ") == 4


def test_a_smoke_test_of_nothing_fails_in_every_point(server: Server) -> None:
    done = server.script("smoke", f"https://127.0.0.1:{free_port()}", check=False)

    assert done.returncode == 1
    assert done.stderr.count("\nWRONG ") == 5


# ---- Redeploy -----------------------------------------------------------------------------------


def test_a_redeploy_loses_no_request_and_no_task_and_a_rollback_goes_back(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    first = server.variable("APP_IMAGE")
    second = f"{first}-next"
    server.engine.run(
        "build", "--quiet", f"--tag={second}", "-", stdin=f"FROM {first}\nENV NEXT=1\n"
    )
    before = server.json("/drill/count/form/")["count"]
    server.send_tasks("redeploy", 60, 1)

    # A rate that a machine can keep up with on which other tests run, too.
    with server.load("redeploy", rate=5) as load:
        deployed = timed(lambda: server.script("deploy", second))
        rolled_back = timed(lambda: server.script("rollback"))
    server.wait_for_count("task-redeploy", 60)

    assert [failure.what for failure in load.failures] == []
    assert server.json("/drill/count/form/")["count"] - before == load.forms
    assert server.variable("APP_IMAGE") == first
    assert server.variable("PREVIOUS_APP_IMAGE") == second
    assert images(server, "web") == images(server, "worker") == {first}
    assert_it_stays_up(load)
    record_property(
        "figure",
        f"redeploy in {deployed:.0f} s and rollback in {rolled_back:.0f} s: {load.sent} requests"
        f" ({load.forms} forms), 0 failed, slowest {load.slowest:.1f} s; {load.probes}; 60 tasks,"
        " 0 lost",
    )


@pytest.mark.parametrize(
    "fault",
    [
        "ENV DJANGO_SETTINGS_MODULE=nowhere.settings",
        # Web is well, and the worker is not.
        "USER 0\nRUN rm /opt/venv/bin/celery\nUSER 10001:10001",
    ],
    ids=["settings", "worker"],
)
def test_a_deploy_that_fails_leaves_running_what_ran(server: Server, fault: str) -> None:
    first = server.variable("APP_IMAGE")
    running = [server.compose.container(name) for name in ("web", "worker")]
    broken = f"{first}-broken"
    recipe = f"FROM {first}\n{fault}\n"
    server.engine.run("build", "--quiet", f"--tag={broken}", "-", stdin=recipe)

    done = server.script("deploy", broken, check=False)

    assert done.returncode == 1
    assert "The deploy has failed: what ran before goes on" in done.stderr
    assert server.variable("APP_IMAGE") == first
    assert [server.compose.container(name) for name in ("web", "worker")] == running
    assert server.get("/ready/").status == 200


def test_a_deploy_brings_the_files_that_containers_have_mounted(server: Server) -> None:
    file = server.checkout / "deploy/proxy/Caddyfile"
    fresh = file.with_name(
        "Caddyfile.fresh"
    )  # git, too, replaces a file instead of writing into it
    fresh.write_text(f"# Another.\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    fresh.replace(file)
    cache = server.compose.container("cache")

    server.script("deploy", server.variable("APP_IMAGE"))

    shown = server.compose.execute("proxy", "head", "-n", "1", "/etc/caddy/Caddyfile").stdout
    assert shown == "# Another.\n"
    assert server.compose.container("cache") == cache
    server.wait_for("/ready/")


def test_what_is_not_well_beside_the_service_does_not_undo_a_deploy(server: Server) -> None:
    sick = 'services:\n  sick:\n    image: ${CACHE_IMAGE}\n    command: ["false"]\n'
    file = server.checkout / "docker-compose.prod.override.yml"
    healthy = file.read_text(encoding="utf-8")
    file.write_text(sick, encoding="utf-8")
    try:
        done = server.script("deploy", server.variable("APP_IMAGE"), check=False)
    finally:
        file.write_text(healthy, encoding="utf-8")
        server.compose.run("up", "--detach", "--no-deps", "--remove-orphans", "cache")

    assert done.returncode == 3
    assert "It serves, but beside it something is not well:\nsick does not become" in done.stderr
    assert server.get("/ready/").status == 200


def test_an_address_without_a_port_is_asked_as_a_browser_does(render: Render) -> None:
    namespace = runpy.run_path(str(render() / "scripts/deploy.py"))
    visitor = namespace["Visitor"]("https://example.com")
    sent: list[bytes] = []
    connection = namespace["Connection"](visitor, secure=True)
    connection.sock = SimpleNamespace(sendall=sent.append, close=lambda: None)

    connection.request("GET", "/")

    assert b"\r\nHost: example.com\r\n" in b"".join(sent)
    assert visitor.url == "https://example.com"


def images(server: Server, service: str) -> set[str]:
    """Return what the containers of a service run."""
    lines = server.compose.run("ps", "--format", "{{.Image}}", service).stdout
    return set(lines.split())


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


# ---- Faults -------------------------------------------------------------------------------------

# What /ready/ says while a server is away; tasks may wait, so the broker is asked only on demand.
AWAY = {"postgres": 503, "pgbouncer": 503, "cache": 503, "broker": 200}


@pytest.mark.parametrize("name", AWAY)
def test_the_service_outlives_the_loss_of_a_server(
    server: Server, record_property: Callable[[str, object], None], name: str
) -> None:
    web = server.compose.container("web")
    server.send_tasks(name, 10, 0.2)

    with server.load(name, rate=5) as load:
        server.compose.run("stop", name)
        noticed = server.wait_for("/ready/", AWAY[name])
        pause(2)
        server.compose.run("start", name)
        recovered = server.wait_for("/ready/")
        server.wait_for("/drill/page/")
        again = load.now()
        pause(5)
    server.wait_for_count(f"task-{name}", 10)

    record_property(
        "figure",
        f"{name} stopped and started: seen after {noticed:.1f} s, ready {recovered:.1f} s"
        f" after the start; {load.probes}; {len(load.failures)} of {load.sent} requests failed"
        f" in {load.outage:.0f} s; 10 tasks, 0 lost",
    )
    assert load.probed > 5
    assert load.down[LIVENESS] == []
    if AWAY[name] == 503:
        assert load.down[READINESS] != []
    else:
        assert_it_stays_up(load)
    assert server.compose.container("web") == web
    assert server.engine.inspect("container", web)["RestartCount"] == 0
    if name in {"cache", "broker"}:
        assert load.failures == [], "pages need neither"
    assert load.failures_since(again) == []


def test_web_that_is_killed_comes_back(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    web = server.compose.container("web")
    before = server.engine.inspect("container", web)["RestartCount"]

    with server.load("kill-web", rate=5) as load:
        pause(2)
        server.kill("web")
        recovered = server.wait_for("/ready/")
        again = load.now()
        pause(3)

    record_property(
        "figure",
        f"web killed: ready after {recovered:.1f} s; {load.probes}; {len(load.failures)} of"
        f" {load.sent} requests failed, slowest {load.slowest:.1f} s",
    )
    assert load.probed > 5
    assert server.engine.inspect("container", web)["RestartCount"] == before + 1
    assert load.failures_since(again) == []


def test_the_tasks_of_a_worker_that_is_killed_are_done(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    worker = server.compose.container("worker")
    before = server.engine.inspect("container", worker)["RestartCount"]
    server.send_tasks("kill-worker", 10, 1)
    server.wait_for_count("task-kill-worker", 1)

    with server.load("kill-worker", rate=5) as load:
        server.kill("worker")
        seconds = server.wait_for_count("task-kill-worker", 10)

    record_property(
        "figure",
        f"worker killed: 10 tasks, 0 lost, all done {seconds:.0f} s later; {load.probes};"
        f" {len(load.failures)} of {load.sent} requests failed",
    )
    assert server.engine.inspect("container", worker)["RestartCount"] == before + 1
    assert_it_stays_up(load)
    assert load.failures == []


def assert_it_stays_up(load: Load) -> None:
    """Hold a service to its liveness all the time, and to its readiness for nearly all of it."""
    assert load.probed > 5
    assert load.down[LIVENESS] == []
    # A machine that stands still for seconds is not the service's fault.
    assert len(load.down[READINESS]) <= load.probed // 10, load.down[READINESS]


def pause(seconds: float) -> None:
    """Let requests go on for a while."""
    time.sleep(seconds)


# ---- What a visitor sees ------------------------------------------------------------------------


def test_mozillas_observatory_gives_its_best_grade(
    server: Server, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """From within the network of the proxy, where it has the ports that the scanner asks for."""
    scanner = Path(__file__).parent / "linters/node_modules/@mdn/mdn-http-observatory"
    if not scanner.exists():
        missing("@mdn/mdn-http-observatory is missing: run `make linters`")
    # The list of browsers, which its installation would download; shop.test is not on it.
    (scanner / "conf/hsts-preload.json").write_text("{}")
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {DOMAIN}\n")
    (tmp_path / "root.crt").write_text(server.authority)
    proxy = server.engine.inspect("container", server.compose.container("proxy"))
    script = 'mount --bind "$0" /etc/hosts && exec node "$1" "$2"'

    done = subprocess.run(
        ["nsenter", f"--net=/proc/{proxy['State']['Pid']}/ns/net", "unshare", "--mount", "bash",
         "-c", script, tmp_path / "hosts", scanner / "src/scan.js", DOMAIN],
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(tmp_path / "root.crt")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip

    found = json.loads(done.stdout)
    failed = {name: test["result"] for name, test in found["tests"].items() if not test["pass"]}
    assert failed == {}
    assert found["scan"]["grade"] == "A+"
    record_property("figure", f"MDN HTTP Observatory: A+, {found['scan']['score']} points")


# ---- A new PostgreSQL ---------------------------------------------------------------------------


def test_a_deploy_starts_no_empty_postgresql_beside_data(server: Server) -> None:
    postgres = server.compose.container("postgres")
    file = server.checkout / ".env"
    before = file.read_text(encoding="utf-8")
    server.set("POSTGRES_MAJOR", "18")
    try:
        done = server.script("deploy", server.variable("APP_IMAGE"), check=False)
    finally:
        file.write_text(before, encoding="utf-8")

    assert done.returncode == 1
    assert "has data of version 17, and none in /var/lib/postgresql/18/data" in done.stderr
    assert server.compose.container("postgres") == postgres


def test_the_page_on_a_new_postgresql_is_right(server: Server) -> None:
    """Step by step, but for the new version itself: the old one, with files of its own."""
    page = (server.checkout / "docs/postgres-upgrade.md").read_text(encoding="utf-8")
    steps = re.findall(r"```console\n(.*?)```", page, re.DOTALL)[0]
    image = server.variable("POSTGRES_IMAGE")
    steps = re.sub(r"POSTGRES_IMAGE=postgres:\d+", f"POSTGRES_IMAGE={image}", steps)
    steps = steps.replace("make deploy\n", f"make deploy IMAGE={server.variable('APP_IMAGE')}\n")
    forms = server.json("/drill/count/form/")["count"]

    done = subprocess.run(
        ["bash", "-o", "errexit", "-o", "pipefail", "-c", steps],
        cwd=server.checkout,
        env={"PATH": os.environ["PATH"], "HOME": "/root"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    before, after = re.findall(r"(?m)^\d+$", done.stdout)
    assert before == after != "0"
    assert server.json("/drill/count/form/")["count"] == forms
    folders = server.compose.execute("postgres", "ls", "/var/lib/postgresql").stdout.split()
    assert {"17", "18"} <= {*folders}
    assert server.json("/drill/page/")["timeout"] == "30s"


# ---- Each variant, one after the other ----------------------------------------------------------


@pytest.fixture(scope="module", params=IN_CONTAINERS)
def each(request: pytest.FixtureRequest, start: Callable[[str], Server]) -> Server:
    """Return a server on which a variant runs, each in turn: what asks for it stands at the end."""
    server = start(request.param)
    # Without the script, as a person starts all of it again.
    server.compose.run("up", "--detach", "--wait")
    return server


def state(server: Server) -> dict[str, dict[str, Any]]:
    """Return what the engine knows of the container of each service."""
    found = server.compose.run("ps", "--all", "--quiet").stdout.split()
    containers = [server.engine.inspect("container", number) for number in found]
    label = "com.docker.compose.service"
    return {container["Config"]["Labels"][label]: container for container in containers}


def test_all_that_belongs_to_it_runs_and_is_well(each: Server) -> None:
    states = {name: container["State"] for name, container in state(each).items()}

    assert states.keys() == each.compose.config()["services"].keys()
    migrate = states.pop("migrate")
    assert (migrate["Status"], migrate["ExitCode"]) == ("exited", 0)
    assert {one["Health"]["Status"] for one in states.values()} == {"healthy"}
    tasks = {"worker", "beat", "broker"} if each.answers["task_queue"] == "celery" else set()
    assert states.keys() & OF_TASKS == tasks


def test_every_running_container_is_hardened(each: Server) -> None:
    for name, container in state(each).items():
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] is True, name
        assert host["CapDrop"] == ["ALL"], name
        added = [capability.removeprefix("CAP_") for capability in host["CapAdd"] or []]
        assert added == (["NET_BIND_SERVICE"] if name == "proxy" else []), name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Privileged"] is False, name
        assert 0 < host["Memory"] <= 1 << 30, name
        assert 0 < host["NanoCpus"] <= 1_000_000_000, name
        assert 0 < host["PidsLimit"] <= 300, name
        assert host["LogConfig"]["Type"] == "json-file", name
        assert host["LogConfig"]["Config"].keys() >= {"max-size", "max-file"}, name
        policy = "no" if name == "migrate" else "unless-stopped"
        assert host["RestartPolicy"]["Name"] == policy, name
        # The other images are those of the servers, which have users of their own.
        if name in {"web", "worker", "beat", "migrate"}:
            assert container["Config"]["User"] == "10001:10001", name
        assert bool(host["PortBindings"]) == (name == "proxy"), name


def test_it_writes_nowhere_but_in_its_own_memory(each: Server) -> None:
    script = "for f in / /app /opt/venv /usr /etc /tmp; do touch $f/x && echo $f; done; id --user"

    written = each.compose.execute("web", "bash", "-c", script).stdout.split()

    assert written == ["/tmp", "10001"]  # noqa: S108  in the container


def test_the_cache_evicts_and_a_broker_of_redis_keeps(each: Server) -> None:
    def settings(server: str) -> dict[str, str]:
        names = "maxmemory maxmemory-policy appendonly appendfsync save"
        script = (
            f'export REDISCLI_AUTH="$(cut -d " " -f 2 /run/secrets/{server}.conf)"\n'
            f"for name in {names}; do redis-cli config get $name | paste -s -d =; done"
        )
        lines = each.compose.execute(server, "sh", "-c", script).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    found = settings("cache")
    assert (found["maxmemory-policy"], found["maxmemory"]) == ("allkeys-lru", str(128 << 20))
    assert (found["appendonly"], found["save"]) == ("no", "")
    if each.answers.get("broker") == "redis":
        found = settings("broker")
        assert (found["maxmemory-policy"], found["maxmemory"]) == ("noeviction", str(384 << 20))
        assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")


def test_probes_answer_through_the_proxy(each: Server) -> None:
    assert each.json("/health/")["status"] == "healthy"
    checks = each.json("/ready/")["checks"]
    assert checks.keys() >= {"database", "cache"}
    assert all(checks.values())


def test_it_is_checked_from_inside(each: Server) -> None:
    """With the variables and secrets that it runs with."""
    command = ("python", "manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert "no issues" in each.compose.execute("web", *command).stdout
    assert each.compose.execute("web", "python", "manage.py", "migrate", "--check").stdout == ""


def test_requests_come_by_https_through_pgbouncer_with_a_limit_on_statements(each: Server) -> None:
    assert each.json("/drill/page/") == {"timeout": "30s", "user": "my_service", "secure": True}


def test_a_task_makes_its_round_where_there_are_tasks(each: Server) -> None:
    if each.answers["task_queue"] == "none":
        script = "command -v celery || echo none"
        assert each.compose.execute("web", "sh", "-c", script).stdout == "none\n"
        return
    each.send_tasks("round", 3, 0)

    each.wait_for_count("task-round", 3)


def test_the_smoke_test_is_content(each: Server) -> None:
    done = each.script("smoke")

    assert done.stderr.count("\nok ") == 5


def test_the_admin_is_shown_with_its_style_and_without_a_word_in_the_console(
    each: Server,
) -> None:
    options = (
        f"--host-resolver-rules=MAP {DOMAIN} 127.0.0.1",
        # Its authority is the proxy's own, which the other tests verify.
        "--ignore-certificate-errors",
    )
    with browser(*options) as driver:
        url = f"https://{DOMAIN}:{each.port}/admin/login/"
        page, said = browse(driver, url, 'name="csrfmiddlewaretoken"')

    assert said == []
    styles = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert styles
    assert {each.get(path).status for path in styles} == {200}


SAVE = """
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

print(default_storage.url(default_storage.save("orders/page.html", ContentFile(b"<b>7</b>"))))
"""


def test_uploads_are_kept_where_the_answers_say_and_served_but_never_run(
    each: Server, store: S3Server
) -> None:
    command = ("python", "manage.py", "shell", "--command", SAVE)
    saved = each.compose.execute("web", *command, check=False)
    url = (saved.stdout.split() or [""])[-1]

    if each.answers["media_storage"] == "none":
        assert "Read-only file system" in saved.stderr
    elif each.answers["media_storage"] == "s3":
        bucket = each.variable("AWS_STORAGE_BUCKET_NAME")
        address, _, signature = url.partition("?")
        assert address == f"{store.url}/{bucket}/orders/page.html"
        assert http_request(url).body == b"<b>7</b>"
        assert "X-Amz-Signature=" in signature
        assert http_request(address).status == 403
    else:
        answer = each.get(url)
        assert (answer.status, answer.body) == (200, b"<b>7</b>")
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert each.get("/media/orders/").status == 404
        assert each.get("/media/orders/../../etc/passwd").status == 404
