"""`make check` and `make ci` in a project: each gate finds its fault, and none hides another."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import runpy
import shlex
import shutil
import ssl
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.history import commit_all
from tests.servers import StandIn, require_tool
from tests.service import Bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.containers.engine import Engine
    from tests.rendering import Render
    from tests.servers import PostgresServer, RabbitMQServer, RedisServer
    from tests.service import GetService, Service

QUICK = ["format", "lint", "types", "check", "migrations", "tests"]
# All but those that need the network or Docker, which have tests of their own.
GATES = [
    "lock", "format", "lint", "upgrade", "types", "check", "check-deploy", "migrations",
    "migration-safety", "tests", "docs", "conflicts", "secrets", "sbom",
]  # fmt: skip

# What a machine may need to reach the package index.
INHERITED = re.compile(r"(PIP|SSL|UV|https?|HTTPS?|no|NO)_.*|(REQUESTS|CURL)_CA_BUNDLE")


@pytest.fixture(params=["default", "pip"])
def project(
    request: pytest.FixtureRequest,
    development: GetService,
    tmp_path_factory: pytest.TempPathFactory,
) -> Service:
    """Return a project that is set up, with a repository of its own, for a test to change."""
    return changeable(development(request.param), tmp_path_factory.mktemp("gates") / "project")


@pytest.fixture
def one(development: GetService, tmp_path: Path) -> Service:
    """Return the default project, for what does not depend on the package manager."""
    return changeable(development("default"), tmp_path / "project")


def changeable(service: Service, folder: Path) -> Service:
    """Copy a project that is set up, and let it find uv where it was found for the setup."""
    copied = service.copy(folder)
    (folder / ".venv").symlink_to(service.python.parent.parent)
    uv = Path(Bootstrap(folder).find("find-uv"))
    inherited = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    path = f"{copied.variables['PATH']}:{uv.parent}"
    return dataclasses.replace(copied, variables={**inherited, **copied.variables, "PATH": path})


@pytest.fixture
def variables(postgres: PostgresServer, redis: RedisServer) -> dict[str, str]:
    """Return what names the servers, as a job in CI has it."""
    return {"DATABASE_URL": postgres.new_database(), "CACHE_URL": redis.new_database()}


class Run:
    """A run of `make ci` or `make check`: the result of each gate, and what it has said."""

    def __init__(
        self, project: Service, *words: str, code: int, env: Mapping[str, str] | None = None
    ) -> None:
        # Programs say what they find on either stream.
        together = ("sh", "-c", f"{shlex.join(['make', *words])} 2>&1")
        done = project.run(*together, env=env, check=False, seconds=900)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in done.stdout.rpartition("\ngate ")[2], said
        self.said, _, table = done.stdout.rpartition("\ngate ")
        self.summary = table
        rows = re.findall(r"(?m)^([a-z-]+) +(passed|FAILED|not run) +[\d.]+", table)
        self.results = dict(rows)

    def of(self, gate: str) -> str:
        """Return what a gate has said."""
        return self.said.partition(f"==> {gate}:")[2].partition("\n==> ")[0]


def add(project: Service, name: str, text: str) -> None:
    """Write a file, or lines at the end of one that is there."""
    path = project.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_every_gate_passes_from_the_first_commit(
    development: GetService, variables: dict[str, str], tmp_path: Path
) -> None:
    """With pip; those of the default project are run by the pipeline in tests/test_delivery.py."""
    project = changeable(development("pip"), tmp_path / "project")

    run = Run(project, "ci", f"ARGS={' '.join(GATES)}", env=variables, code=0)

    assert run.results == dict.fromkeys(GATES, "passed")
    # None is skipped, as the way through the broker is where none is named.
    assert re.search(r"\d+ passed in", run.of("tests"))
    assert f"{len(GATES)} of {len(GATES)} gates passed." in run.summary
    assert "django" in (project.path / "reports/sbom.cdx.json").read_text(encoding="utf-8")
    assert (project.path / "reports/coverage.xml").exists()


# For each gate a fault, and what the gate says of it.
OLD = '''"""Written for an older Django."""

from django.http import HttpRequest


def agent(request: HttpRequest) -> str | None:
    """Return what the client says that it is."""
    return request.META.get("HTTP_USER_AGENT")
'''
POINTS = '''"""Ask for what the release before does not write."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Ask for it."""

    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.AddField("user", "points", models.IntegerField(default=0))]
'''
MERGE = '''"""Join two."""

from django.db import migrations


class Migration(migrations.Migration):
    """Join them."""

    dependencies = [("accounts", "0002_points"), ("accounts", "0002_stars")]
    operations = []
'''
FAULTS = {
    "format": ("src/pages/crooked.py", '"""A fault."""\n\nONE = {  }\n', "crooked.py"),
    "lint": ("src/pages/unused.py", '"""A fault."""\n\nimport os\n', "F401"),
    "upgrade": ("src/pages/old.py", OLD, "old.py"),
    "types": ("src/pages/typed.py", '"""A fault."""\n\nONE: int = "one"\n', "typed.py"),
    "check-deploy": (
        "src/my_service/settings/production.py", "SECURE_SSL_REDIRECT = False\n", "W008",
    ),
    "migrations": ("src/accounts/migrations/0002_points.py", POINTS, "points"),
    "migration-safety": ("", "", "The release before writes no value here"),
    "tests": ("tests/test_fault.py", "def test_it() -> None:\n    assert not 1\n", "test_it"),
    "docs": ("docs/orders.md", "# Orders\n\n[Nothing](none.md) and [no](ci.md#no)\n", "ci.md#no"),
    "conflicts": (
        "src/pages/both.txt",
        f"{'<' * 7} before updating\none\n{'=' * 7}\ntwo\n{'>' * 7} after updating\n",
        "src/pages/both.txt:1:",
    ),
    "secrets": ("src/pages/key.txt", f"{'AKIA'}IOSFODNN7EXAMPLQ\n", "AWS Access Key"),
}  # fmt: skip


# Those whose faults have tests of their own, or come with the others'.
FAULTS_ELSEWHERE = {"lock", "check", "audit", "sbom", "image"}


def test_every_gate_is_seen_to_find_a_fault(render: Render) -> None:
    gates = runpy.run_path(str(render() / "scripts/ci.py"))["ALL"]

    assert FAULTS.keys() | FAULTS_ELSEWHERE == gates.keys()


def test_each_gate_finds_its_fault_and_hides_no_other(
    project: Service, variables: dict[str, str]
) -> None:
    for name, text, _ in FAULTS.values():
        if name:
            add(project, name, text)
    add(project, "requirements/project.txt", "arrow\n")
    pyproject = project.path / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace("dependencies = []", 'dependencies = ["arrow"]'))

    run = Run(project, "ci", f"ARGS={' '.join(GATES)}", env=variables, code=2)

    uv = project.answers["package_manager"] == "uv"
    assert {gate for gate, result in run.results.items() if result == "FAILED"} == (
        {"lock", *FAULTS} | ({"sbom"} if uv else set())
    )
    assert list(run.results) == GATES
    assert {gate: word for gate, (*_, word) in FAULTS.items() if word not in run.of(gate)} == {}
    assert "bootstrap.py --lock` mends it" in run.of("lock")
    assert f"of {len(GATES)} gates failed: lock, format, lint" in run.summary


def test_what_an_update_has_left_is_found(render: Render, tmp_path: Path) -> None:
    """By gates that need nothing but git and Python, so that a bot's proposal cannot pass."""
    project = tmp_path / "project"
    shutil.copytree(render(), project)
    commit_all(project, "Start")

    def gates(*names: str) -> tuple[int, str]:
        command = [sys.executable, "scripts/ci.py", *names]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert gates("conflicts", "docs")[0] == 0

    with (project / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("<<<<<<< before updating\nEXPOSE 9000\n=======\n>>>>>>> after updating\n")
    code, said = gates("docs", "conflicts")

    assert code == 1
    assert re.search(r"(?m)^docs +passed", said)
    assert re.search(r"(?m)^conflicts +FAILED .* Keep what is right between the lines", said)
    assert "Dockerfile:" in said


def test_a_lock_that_is_missing_is_still_missing_when_its_gate_has_failed(
    development: GetService, tmp_path: Path
) -> None:
    project = changeable(development("pip"), tmp_path / "project")
    lock = project.path / "requirements/production.lock.txt"
    lock.unlink()

    run = Run(project, "ci", "ARGS=lock sbom", env={}, code=2)

    assert run.results == {"lock": "FAILED", "sbom": "FAILED"}
    assert "The lock is stale" in run.of("lock")
    assert not lock.exists()


def test_programs_are_found_where_a_container_has_them(one: Service) -> None:
    elsewhere = one.path / "programs"
    (one.path / ".venv").rename(elsewhere)

    Run(one, "ci", "ARGS=format", env={"BIN": str(elsewhere / "bin")}, code=0)


def test_a_check_of_django_that_fails_is_found(project: Service, variables: dict[str, str]) -> None:
    add(project, "src/my_service/settings/test.py", 'ROOT_URLCONF = "pages.nowhere"\n')

    run = Run(project, "ci", "ARGS=check docs", env=variables, code=2)

    assert run.results == {"check": "FAILED", "docs": "passed"}


def test_a_fork_of_migrations_is_found(project: Service, variables: dict[str, str]) -> None:
    for name in ("points", "stars"):
        text = POINTS.replace("points", name).replace("default", "db_default")
        add(project, f"src/accounts/migrations/0002_{name}.py", text)

    run = Run(project, "ci", "ARGS=migration-safety", env=variables, code=2)

    assert "accounts: 0002_points and 0002_stars are both last: make one depend" in run.said

    add(project, "src/accounts/migrations/0003_merge.py", MERGE)
    Run(project, "ci", "ARGS=migration-safety", env=variables, code=0)


STEP = '''"""A step."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """It."""

    dependencies = [{dependency}]
    operations = [{operation}]
'''
TABLES = ", migrations.".join(
    f'CreateModel("{name}", [("id", models.BigAutoField(primary_key=True)), {fields}])'
    for name, fields in {
        "Order": ", ".join(f'("{column}", models.TextField(null=True))' for column in "abcdef"),
        "Item": "",
        "Line": "",
    }.items()
)
# What the release before may not survive, and what is said of it.
BREAKING = {
    "remove_field": ('RemoveField("order", "a")', "may use this column"),
    "rename_field": ('RenameField("order", "b", "bb")', "knows the old name alone"),
    "rename_model": ('RenameModel("Item", "Thing")', "knows the old name alone"),
    "rename_table": ('AlterModelTable("order", "orders")', "knows the old name alone"),
    "delete_model": ('DeleteModel("Line")', "may use this table"),
    "not_null": ('AlterField("order", "c", models.TextField())', "writes no value here"),
    "no_default": ('AddField("order", "n", models.IntegerField(default=0))', "writes no value"),
    "type": ('AlterField("order", "d", models.IntegerField(null=True))', "bear another type"),
    "unique": ('AlterField("order", "e", models.TextField(null=True, unique=True))', "twice"),
    "constraint": (
        'AddConstraint("order", models.CheckConstraint(condition=models.Q(bb="x"), name="bb"))',
        "may write what this refuses",
    ),
    "sql_by_hand": ('RunSQL("select 1; alter table orders\\n drop column f")', "this column"),
}
HARMLESS = {
    "db_default": 'AddField("order", "x", models.IntegerField(db_default=0))',
    "nullable": 'AddField("order", "y", models.IntegerField(null=True))',
    "data": 'RunSQL("update orders set f = null", migrations.RunSQL.noop)',
    "model": 'CreateModel("New", [("id", models.BigAutoField(primary_key=True))])',
}


def test_each_step_that_breaks_the_release_before_is_refused_until_it_is_listed(
    one: Service, variables: dict[str, str]
) -> None:
    steps = {"tables": TABLES, **{name: text for name, (text, _) in BREAKING.items()}, **HARMLESS}
    dependency = ""
    for number, (name, operation) in enumerate(steps.items(), 1):
        text = STEP.format(dependency=dependency, operation=f"migrations.{operation}")
        add(one, f"src/pages/migrations/{number:04}_{name}.py", text)
        dependency = f'("pages", "{number:04}_{name}")'
    add(one, "src/pages/migrations/__init__.py", "")

    def said() -> dict[str, tuple[str, str]]:
        parts = re.findall(r"(?m)^\(pages, \d+_(\w+)\)\.\.\. (\w+)((?:\n\t.*)*)", run.said)
        return {name: (result, reasons) for name, result, reasons in parts}

    run = Run(one, "ci", "ARGS=migration-safety", env=variables, code=2)

    results = said()
    assert {name for name, (result, _) in results.items() if result == "ERR"} == set(BREAKING)
    assert {name for name, (result, _) in results.items() if result == "OK"} == (
        {"tables", *HARMLESS}
    )
    for name, (_, reason) in BREAKING.items():
        assert reason in results[name][1]
        assert results[name][1].startswith("\n\tThe release before ")
    assert "docs/ci.md says how a step is listed that is meant" in run.summary

    names = [f"{number:04}_{name}" for number, name in enumerate(steps, 1) if name in BREAKING]
    listed = f'MIGRATION_LINTER_OPTIONS = {{"ignore_name": {names}}}\n'
    add(one, "src/my_service/settings/test.py", listed)
    run = Run(one, "ci", "ARGS=migration-safety", env=variables, code=0)
    assert {name for name, (result, _) in said().items() if result == "IGNORE"} == set(BREAKING)


def test_the_quick_gates_need_no_server(project: Service) -> None:
    run = Run(project, "check", code=0)

    assert run.results == dict.fromkeys(QUICK, "passed")


def test_a_team_adds_gates_and_asks_for_more_coverage(
    one: Service, variables: dict[str, str]
) -> None:
    makefile = "\nGATES = orders late\nCOVERAGE = 100\norders:\n\ttouch sent\nlate:\n\tfalse\n"
    add(one, "Makefile", makefile)
    add(one, "src/pages/untested.py", '"""No test reaches this."""\n\nONE = 1\n')

    run = Run(one, "ci", "ARGS=tests orders late", env=variables, code=2)

    assert run.results == {"tests": "FAILED", "orders": "passed", "late": "FAILED"}
    assert "less than fail-under=100" in run.of("tests")
    assert (one.path / "sent").exists()


def test_what_is_missing_is_told_and_fails_in_ci_alone(one: Service) -> None:
    words = ("ci", "ARGS=migration-safety docs")

    here, there = Run(one, *words, code=0), Run(one, *words, env={"CI": "true"}, code=2)

    assert here.results == {"migration-safety": "not run", "docs": "passed"}
    assert there.results == {"migration-safety": "FAILED", "docs": "passed"}
    for run in (here, there):
        assert "DATABASE_URL names no PostgreSQL" in run.of("migration-safety")


def test_a_task_goes_through_rabbitmq_where_it_is_the_broker(
    development: GetService, variables: dict[str, str], rabbitmq: RabbitMQServer, tmp_path: Path
) -> None:
    project = changeable(development("rabbitmq"), tmp_path / "project")
    words = ("ci", "ARGS=tests")
    # That test alone; how much of the code it reaches is another matter.
    one = {**variables, "PYTEST_ADDOPTS": "-k through_the_broker", "COVERAGE": "0"}
    broker = rabbitmq.new_vhost()

    assert Run(project, *words, env=one, code=0).results == {"tests": "not run"}
    run = Run(project, *words, env={**one, "CELERY_BROKER_URL": broker}, code=0)

    assert "1 passed" in run.of("tests")
    vhost = broker.rpartition("/")[2]
    made = rabbitmq.control("list_exchanges", "--vhost", vhost, "name")
    assert "celery_delayed_delivery" in made
    assert "test-" not in made + rabbitmq.control("list_queues", "--vhost", vhost, "name")


def test_a_gate_that_is_not_there_is_named(one: Service) -> None:
    done = one.run("make", "ci", "ARGS=tets", check=False)

    assert done.returncode == 2
    assert "No gate is called tets: there are lock, " in done.stderr


def test_a_release_is_its_version_and_a_lock_that_knows_it(one: Service) -> None:
    page = (one.path / "docs/github.md").read_text(encoding="utf-8")
    command = re.findall(r"bring the lock to it with `([^`]+)`", page)
    pyproject = one.path / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace('version = "0.1.0"', 'version = "1.2.3"'), encoding="utf-8")
    assert Run(one, "ci", "ARGS=lock", code=2).results == {"lock": "FAILED"}

    one.run(*shlex.split(command[0]))

    assert Run(one, "ci", "ARGS=lock", code=0).results == {"lock": "passed"}


def test_an_app_is_made_by_the_command_that_is_written_down(project: Service) -> None:
    text = (project.path / "AGENTS.md").read_text(encoding="utf-8")
    command, then = re.findall(r"A new app: `([^`]+)`, then `([^`]+)`", text)[0]
    project.run("sh", "-c", command)
    project.run(*shlex.split(then))
    (settings,) = project.path.glob("src/*/settings/base.py")
    with settings.open("a", encoding="utf-8") as file:
        file.write('\nINSTALLED_APPS += ["orders"]\n')

    run = Run(project, "ci", "ARGS=format lint check migrations", code=0)

    assert {*run.results.values()} == {"passed"}
    assert (project.path / "src/orders/apps.py").exists()


class Advisories(StandIn):
    """A proxy that answers in the place of those who know vulnerabilities: OSV, and PyPI.

    Neither can be reached from everywhere, and what they know changes. Which requests are made, and
    what becomes of the answers, is up to `uv audit` and pip-audit as they are.
    """

    def __init__(self, folder: Path) -> None:
        self.known: dict[str, str] = {}  # vulnerabilities by package
        advisories = self
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certify(folder, "api.osv.dev", "pypi.org"))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)

            def finish(self) -> None:
                super().finish()
                self.connection.close()

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                names = [query["package"]["name"] for query in asked["queries"]]
                self.answer({"results": [advisories.of(name) for name in names]})

            def do_GET(self) -> None:
                words = self.path.split("/")
                if words[1] == "v1":  # OSV's vulnerability
                    self.answer({**advisories.row(words[3]), "affected": []})
                elif words[1] == "pypi":  # PyPI's release
                    found = advisories.of(words[2])["vulns"]
                    self.answer({"info": {}, "urls": [], "vulnerabilities": found})
                else:  # its list of releases, where uv looks whether a project is given up
                    self.send_error(404)

            def answer(self, body: object) -> None:
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        super().__init__(Handler)
        certificates = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        self.variables = {
            **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), self.url),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
            **dict.fromkeys(certificates, str(folder / "authority.pem")),
            # What is made up here is nothing for the cache of others.
            "UV_CACHE_DIR": str(folder / "cache"),
        }

    def of(self, name: str) -> dict[str, list[dict[str, object]]]:
        """Return what is known of a package."""
        return {"vulns": [self.row(self.known[name])] if name in self.known else []}

    def row(self, number: str) -> dict[str, object]:
        """Return a vulnerability, with what either service says of one."""
        return {
            "id": number,
            "modified": "2026-01-01T00:00:00Z",
            "summary": "It leaks.",
            "details": "It leaks.",
            "aliases": [],
            "fixed_in": ["99.0"],
            "withdrawn": None,
        }


def certify(folder: Path, *hosts: str) -> tuple[Path, Path]:
    """Write authority.pem, and return a certificate of hosts that it vouches for, and its key."""
    names = ",".join(f"DNS:{host}" for host in hosts)
    text = f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n"
    (folder / "hosts.cnf").write_text(text, encoding="utf-8")
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    authority = ("-CA", "authority.pem", "-CAkey", "authority.key")
    for words in (
        (*new, "-x509", "-subj", "/CN=Test", "-addext", "keyUsage=critical,keyCertSign",
         "-keyout", "authority.key", "-out", "authority.pem"),
        (*new, "-subj", "/CN=hosts", "-keyout", "hosts.key", "-out", "hosts.csr"),
        ("x509", "-req", "-in", "hosts.csr", *authority, "-CAcreateserial",
         "-extfile", "hosts.cnf", "-out", "hosts.pem"),
    ):  # fmt: skip
        command = [require_tool("openssl"), *words]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "hosts.pem", folder / "hosts.key"


@pytest.fixture
def advisories(tmp_path: Path) -> Iterator[Advisories]:
    """Start one who knows vulnerabilities."""
    with Advisories(tmp_path) as known:
        yield known


def test_a_dependency_with_a_known_vulnerability_is_found(
    project: Service, advisories: Advisories
) -> None:
    words = ("ci", "ARGS=audit")
    run = Run(project, *words, env=advisories.variables, code=0)
    assert run.results == {"audit": "passed"}

    advisories.known["gunicorn"] = "PYSEC-2026-1"

    run = Run(project, *words, env=advisories.variables, code=2)
    assert "gunicorn" in run.of("audit")
    assert "PYSEC-2026-1" in run.of("audit")


def test_an_audit_that_reaches_nobody_does_not_pass(project: Service) -> None:
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    nobody = dict.fromkeys(names, "http://127.0.0.1:1")

    run = Run(project, "ci", "ARGS=audit", env={**nobody, "no_proxy": "", "NO_PROXY": ""}, code=2)

    assert "whether the network is there" in run.of("audit")


def test_the_image_gate_starts_what_production_runs(one: Service, engine: Engine) -> None:
    images = engine.variables(one.path)

    run = Run(one, "ci", "ARGS=image", env=images, code=0)
    assert '/health/ 200 {"status": "healthy"' in run.said
    assert '/ready/ 200 {"status": "ready"' in run.said
    assert '"broker": true' in run.said

    add(one, "deploy/ci.env", "SECRET_KEY=\n")
    run = Run(one, "ci", "ARGS=image", env=images, code=2)
    assert "SECRET_KEY" in run.said
    assert "my-service-ci" not in engine.run("ps", "--all", "--format={{.Names}}").stdout
