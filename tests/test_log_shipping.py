"""The profile `logs`: Docker writes what Alloy's configuration expects, where it may read it.

Neither Alloy nor Loki runs here: the stages of the configuration are followed by hand.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.engine import Engine
    from tests.rendering import Render

STAGE = re.compile(r"(?s)  stage\.(\w+) \{\n(.*?)\n  \}")
PAIR = re.compile(r'(\w+)\s*= "((?:\\.|[^"\\])*)"')

# A record as the service writes it, one that is no JSON, and one that looks like it.
WRITE = """
import logging, sys
sys.path.insert(0, "/src")
from common.logging import JsonFormatter, request_id

handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(JsonFormatter())
logger = logging.getLogger("orders")
logger.addHandler(handler)
request_id.set("7f3a")
logger.error("An order is lost: %s", '"seven"')
print("Segmentation fault", file=sys.stderr)
print("{level: none}")
"""


def picked(line: str, expressions: dict[str, str]) -> dict[str, Any]:
    """Return what the expressions find in a line, nothing when it is no JSON."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    found = {}
    for name, expression in expressions.items():
        value = parsed
        for quoted, bare in re.findall(r'"([^"]+)"|([^."]+)', expression):
            value = (value or {}).get(quoted or bare)
        if value is not None:
            found[name] = value
    return found


def follow(configuration: str, line: str, project: str) -> dict[str, Any] | None:
    """Return the entry that the stages make of a line of Docker's file, None when it is dropped."""
    entry: dict[str, Any] = {"line": line, "labels": {}, "structured_metadata": {}}
    found: dict[str, Any] = {}
    for stage, body in STAGE.findall(configuration):
        pairs = {name: text.replace('\\"', '"') for name, text in PAIR.findall(body)}
        if stage == "json":
            found |= picked(entry["line"], pairs)
        elif stage == "output":
            entry["line"] = found[pairs["source"]]
        elif stage == "timestamp":
            entry["time"] = found[pairs["source"]]
        elif stage in entry:
            entry[stage] |= {name: found[name] for name in pairs if name in found}
        elif stage == "match":
            assert '"{project!=\\"" + sys.env("PROJECT")' in body
            if entry["labels"].get("project") != project:
                return None
        elif stage == "label_drop":
            dropped = re.findall(r'"(\w+)"', body)
            entry["labels"] = {k: v for k, v in entry["labels"].items() if k not in dropped}
        else:
            raise LookupError(f"stage.{stage} is not known here: follow it, too.")
    return entry


@pytest.fixture(scope="module")
def configuration(engine: Engine, render: Render, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401  JSON may be anything
    """Return what compose makes of the files, with every profile."""
    project = tmp_path_factory.mktemp("logs") / "project"
    shutil.copytree(render(), project)
    (project / ".env").write_text("DOMAIN=example.com\nTLS=internal\n", encoding="utf-8")
    compose = engine.compose(project, "my-service", "docker-compose.prod.yml")
    return compose.config("--profile", "*")


@pytest.fixture(scope="module")
def written(engine: Engine, render: Render, configuration: Any) -> Iterator[list[str]]:  # noqa: ANN401  JSON may be anything
    """Let a container write, and return what Docker has written, read as Alloy reads it."""
    name = f"shipshape-logs-{secrets.token_hex(4)}"
    logging = configuration["services"]["web"]["logging"]
    alloy = configuration["services"]["alloy"]
    image = engine.image("python:3.13-slim-trixie")
    assert (alloy["user"], alloy["cap_drop"], alloy["read_only"]) == ("0:0", ["ALL"], True)
    engine.run(
        *("run", "--name", name, "--log-driver", logging["driver"], "--env", "PYTHONPATH=/src"),
        *(f"--log-opt={key}={value}" for key, value in logging["options"].items()),
        *(
            "--label=com.docker.compose.project=my-service",
            "--label=com.docker.compose.service=web",
        ),
        *("--volume", f"{render()}/src:/src:ro", image, "python", "-c", WRITE),
    )
    try:
        folder = engine.run("info", "--format", "{{.DockerRootDir}}").stdout.strip()
        number = engine.inspect("container", name)["Id"]
        lines = engine.run(
            *("run", "--rm", "--user=0:0", "--cap-drop=ALL", "--read-only", "--network=none"),
            *(
                "--security-opt=no-new-privileges",
                "--volume",
                f"{folder}/containers:/containers:ro",
            ),
            *(image, "cat", f"/containers/{number}/{number}-json.log"),
        )
        yield lines.stdout.splitlines()
    finally:
        engine.run("rm", "--force", name)


def test_a_line_is_labelled_by_service_and_level(render: Render, written: list[str]) -> None:
    text = (render() / "deploy/logs/config.alloy").read_text(encoding="utf-8")

    entries = [follow(text, line, "my-service") for line in written]

    (record,) = (entry for entry in entries if entry and "orders" in entry["line"])
    assert record["labels"] == {"service": "web", "level": "ERROR"}
    assert record["structured_metadata"] == {"logger": "orders", "request_id": "7f3a"}
    assert json.loads(record["line"])["message"] == 'An order is lost: "seven"'
    others = [entry for entry in entries if entry is not record]
    assert {entry["line"] for entry in others if entry} == {
        "Segmentation fault\n",
        "{level: none}\n",
    }
    assert all(entry and entry["labels"] == {"service": "web"} for entry in others)


def test_lines_of_other_projects_stay_where_they_are(render: Render, written: list[str]) -> None:
    text = (render() / "deploy/logs/config.alloy").read_text(encoding="utf-8")
    bare = [json.dumps({**json.loads(line), "attrs": None}) for line in written]

    assert [follow(text, line, "other") for line in written] == [None] * len(written)
    assert [follow(text, line, "my-service") for line in bare] == [None] * len(written)


def test_every_container_is_labelled(configuration: Any) -> None:  # noqa: ANN401  JSON may be anything
    wanted = "com.docker.compose.project,com.docker.compose.service"

    assert {
        name
        for name, service in configuration["services"].items()
        if service["logging"]["options"].get("labels") != wanted
    } == set()
