"""The template with a history: its releases, former releases made up for the tests, and the work.

Until there are years of real releases, two are made up from the work tree by undoing what releases
bring: changed lines in every managed file, among them the last before a team's part, other pins,
files that came and went, extension points that were not there yet, other starter files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from hooks.release import releases
from tests.rendering import ROOT, take_snapshot

if TYPE_CHECKING:
    from pathlib import Path

WORK_TREE = "9999.0.0"
MANAGED = "Maintained by the template"
YOURS = "# Yours from here"

# What the older of the two has not yet, and what only the two have.
NEW_FILES = ["docs/operations.md", "src/common/probe.py"]
NEW_EXTENSION_POINTS = [
    ".devcontainer/devcontainer.json",
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    "deploy/ci.env",
    "deploy/docker/build-packages.txt",
    "deploy/docker/build.sh",
    "deploy/docker/packages.txt",
    "docker-compose.override.yml",
    "docker-compose.prod.override.yml",
    "mypy.ini",
    "pytest.toml",
    "renovate.json",
]
OBSOLETE = "src/common/obsolete.py"


@dataclass(frozen=True)
class History:
    """A repository of the template, with a tag on each release and on the work tree."""

    root: Path

    @property
    def versions(self) -> list[str]:
        """The releases, oldest first, without the work tree."""
        tags = git(self.root, "tag", "--sort=version:refname").split()
        return [tag for tag in tags if tag != WORK_TREE]


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints in a folder, committing as somebody."""
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command += ["-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`git {' '.join(arguments)}` failed: {done.stderr}{done.stdout}")
    return done.stdout


def commit_all(folder: Path, message: str) -> None:
    """Commit whatever a folder holds, in a repository that is made when there is none."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def build_history(target: Path) -> None:
    """Write the repository: real releases, two that are made up, the work tree."""
    listed = releases(ROOT)
    if listed:
        git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(target))
        for release in listed:
            git(target, "tag", release.version, release.commit)
    else:
        target.mkdir()
    for version, undo in (("9000.0.0", (undo_lines, undo_files)), ("9001.0.0", (undo_lines,))):
        put_work_tree(target)
        for step in undo:
            step(target)
        commit_all(target, version)
        git(target, "tag", version)
    put_work_tree(target)
    commit_all(target, WORK_TREE)
    git(target, "tag", WORK_TREE)


def put_work_tree(target: Path) -> None:
    """Make the files of a repository those of the work tree."""
    for path in target.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    take_snapshot(target)


def managed_sources(root: Path) -> list[Path]:
    """Return the files of the template that say that they are maintained."""
    files = [path for path in (root / "template").rglob("*") if path.is_file()]
    files.append(root / "hooks/bootstrap.py")
    return [
        path for path in files
        if MANAGED in "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:3])
    ]  # fmt: skip


def undo_lines(root: Path) -> None:
    """Give managed files the lines that a former release may have had, and starter files others."""
    for path in managed_sources(root):
        text = path.read_text(encoding="utf-8")
        head, mark, yours = (text, "", "") if path.suffix == ".py" else text.partition(YOURS)
        # Comments, prose and help, but for statements, the first lines and what tools read.
        head = re.sub(
            r"(?m)^(\s*#(?! @| Yours|!| type| noqa)[^\n@]*[a-z])\.?$", r"\1, as it was", head
        )
        head = head.replace(f"{MANAGED}, as it was", f"{MANAGED}.")
        if path.suffix == ".md":
            head = re.sub(r"(?m)^([A-Z][^|\n]*)\.$", r"\1, as it was.", head)
        if path.suffix in {".toml", ".txt"}:
            head = re.sub(r"(>=\d+)\.\d+(\.\d+)?", r"\1.0", head)
        head = head.replace("astral-sh/uv:0.13", "astral-sh/uv:0.12")
        # Right above the version, which every team changes.
        head = re.sub(r"(?m)^(requires-python = .*)$", r'\1\nkeywords = ["former"]', head)
        if mark:
            # Right above the team's part, where a change meets what the team has added.
            head = f"{head.rstrip()}\n{LAST_LINES.get(path.suffix, 'former-line')}\n\n"
        path.write_text(f"{head}{mark}{yours}", encoding="utf-8")
    for name in ("README.md", "AGENTS.md", "src/pages/templates/pages/index.html"):
        starter = root / "template" / name
        starter.write_text(starter.read_text(encoding="utf-8") + "As it was.\n", encoding="utf-8")


# What a former release had as its last lines, by the ending of the file.
LAST_LINES = {".toml": '[tool.former]\nkey = "value"', "": "/former-line"}


def undo_files(root: Path) -> None:
    """Take away what was not there yet, and put what has gone since."""
    template = root / "template"
    for name in (*NEW_FILES, *NEW_EXTENSION_POINTS):
        (template / name).unlink()
    (template / OBSOLETE).write_text(
        f'"""What has gone since. {MANAGED}: change nothing."""\n\nVALUE = 1\n', encoding="utf-8"
    )
    # The way of the seed, before tools had files of their own.
    dockerfile = template / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^RUN --mount=type=bind.*\n", "RUN \\\\\n", text)
    text = re.sub(r"(?m)^.*deploy/docker/build\.sh\n", "", text)
    dockerfile.write_text(re.sub(r"(?m)^ +&& sed .*\n +\| xargs", "    &&", text), encoding="utf-8")
    manifest = root / "copier.yml"
    text = manifest.read_text(encoding="utf-8")
    for name in NEW_EXTENSION_POINTS:
        text = text.replace(f"  - /{name}\n", "")
    manifest.write_text(text, encoding="utf-8")


def team_rows(package: str) -> tuple[list[str], list[str]]:
    """Return the paths that copier.yml leaves to the team: extension points, starter files."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    kept = [
        row.replace("{@ package_name | default('*') @}", package).removeprefix("/")
        for row in settings["_skip_if_exists"]
    ]
    (starters,) = (rows for rows in settings["_exclude"] if '"update"' in rows)
    starting = [row.removeprefix("/") for row in starters.splitlines() if row.startswith("/")]
    return [row for row in kept if row not in starting], starting


def is_below(name: str, rows: list[str]) -> bool:
    """Tell whether a path is one of these, or in a folder that is."""
    return any(name == row or name.startswith(f"{row}/") for row in rows)
