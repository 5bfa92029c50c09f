"""Each variant, set up as a developer does it, passes its own gates and documents itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rendering import VARIANTS

if TYPE_CHECKING:
    from tests.rendering import Render
    from tests.service import GetService

each_variant = pytest.mark.parametrize("variant", VARIANTS)


@each_variant
def test_a_fresh_project_passes_its_own_gates(development: GetService, variant: str) -> None:
    done = development(variant).run("make", "check", seconds=300)

    assert "passed" in done.stdout
    assert "No changes detected" in done.stdout


@each_variant
def test_the_gates_leave_nothing_behind(development: GetService, variant: str) -> None:
    service = development(variant)
    service.run("make", "check", seconds=300)

    assert service.run("git", "status", "--porcelain").stdout == ""
    assert len(service.run("git", "log", "--format=%s").stdout.splitlines()) == 1


@each_variant
def test_no_development_dependency_is_in_production(service: GetService, variant: str) -> None:
    installed = {path.name for path in service(variant).python.parent.iterdir()}

    assert "gunicorn" in installed
    assert not installed & {"pytest", "mypy", "ruff", "uv", "pre-commit"}


@each_variant
def test_every_variable_is_documented(development: GetService, variant: str) -> None:
    service = development(variant)
    script = Path(__file__).with_name("configuration_table.py")

    rows = service.run("python", str(script)).stdout.splitlines()

    documented = (service.path / "docs/configuration.md").read_text().splitlines()
    table = [line for line in documented if line.startswith("| `")]
    assert table == rows


@each_variant
def test_the_documented_environment_is_an_example(render: Render, variant: str) -> None:
    tree = render(**VARIANTS[variant])
    documented = (tree / "docs/configuration.md").read_text()

    for name in re.findall(r"^#? ?([A-Z_]+)=", (tree / ".env.example").read_text(), re.MULTILINE):
        assert f"| `{name}` |" in documented


def test_without_a_task_queue_nothing_speaks_of_one(render: Render) -> None:
    tree = render(task_queue="none")

    speaking = [
        f"{path.relative_to(tree)}: {line}"
        for path in tree.rglob("*")
        if path.is_file()
        for line in path.read_text().splitlines()
        if re.search(r"celery|\bbeat\b|\bbroker\b|rabbit|amqp", line, re.IGNORECASE)
    ]

    assert speaking == []
