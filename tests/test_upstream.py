"""A service's edit of a managed file comes back as a patch of the template."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.history import WORK_TREE, History, git
from tests.test_update import copy

if TYPE_CHECKING:
    from pathlib import Path

# The file, what the service changes in it, where the template has it, and what must be there then.
EDITS = {
    "a Dockerfile with variables and conditions": (
        "Dockerfile",
        {
            "EXPOSE 8000": "EXPOSE 9000\nLABEL service=order-desk",
            "    HOST=0.0.0.0 \\": "    HOST=:: \\\n    SETTINGS=order_desk.settings \\",
            'CMD ["gunicorn", "--config", "gunicorn.conf.py", "order_desk.wsgi:application"]':
                'CMD ["gunicorn", "--preload", "--config", "gunicorn.conf.py",'
                ' "order_desk.wsgi:application"]',
        },
        "template/Dockerfile",
        [
            "EXPOSE 9000\nLABEL service={@ project_slug @}\n",
            "    HOST=:: \\\n    SETTINGS={@ package_name @}.settings \\\n",
            '"--preload", "--config", "gunicorn.conf.py", "{@ package_name @}.wsgi:application"]\n',
        ],
    ),
    "a module in the package, beside statements": (
        "src/order_desk/settings/defaults/base.py",
        {
            '    "common",\n': '    "common",\n    "order_desk.first",\n',
            "LANGUAGE_CODE = environment.LANGUAGE_CODE\n": "",
            "SILENCED_SYSTEM_CHECKS: list[str] = []": 'SILENCED_SYSTEM_CHECKS = ["a.W1"]',
        },
        "template/src/{@ package_name @}/settings/defaults/base.py",
        ['    "common",\n    "{@ package_name @}.first",\n', 'SILENCED_SYSTEM_CHECKS = ["a.W1"]'],
    ),
    "a script that is included": (
        "scripts/bootstrap.py",
        {'SECRETS = ("SECRET_KEY",)': 'SECRETS = ("SECRET_KEY", "PAYMENT_KEY")'},
        "hooks/bootstrap.py",
        ['SECRETS = ("SECRET_KEY", "PAYMENT_KEY")', 'SLUG = "{@ project_slug @}"'],
    ),
}  # fmt: skip


def upstream(root: Path, file: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the script of a repository for a file, and expect this exit code."""
    command = [sys.executable, str(root / "hooks/upstream.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def project(history: History, tmp_path: Path) -> Path:
    """Return a service that is called order-desk, from a template that the test may change."""
    git(tmp_path, "clone", "--quiet", str(history.root), "template")
    source = History(tmp_path / "template")
    return copy(source, tmp_path / "order-desk", WORK_TREE, {"project_name": "Order Desk"})


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_becomes_a_patch_with_variables(project: Path, kind: str) -> None:
    name, changes, source, expected = EDITS[kind]
    root = project.with_name("template")
    text = (project / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (project / name).write_text(text, encoding="utf-8")

    patch = upstream(root, project / name).stdout

    (root / "fix.patch").write_text(patch, encoding="utf-8")
    git(root, "apply", "fix.patch")
    changed = (root / source).read_text(encoding="utf-8")
    assert [line for line in expected if line not in changed] == []
    # Nothing else: a copy of the patched template has the service's file.
    (root / "fix.patch").unlink()
    git(root, "commit", "--quiet", "--all", "--message", "Fix")
    git(root, "tag", "10000.0.0")
    answers = {"project_name": "Order Desk"}
    fresh = copy(History(root), project.with_name("fresh"), "10000.0.0", answers)
    assert (fresh / name).read_text(encoding="utf-8") == text


def test_an_untouched_file_gives_no_patch(project: Path) -> None:
    done = upstream(project.with_name("template"), project / "Dockerfile")

    assert done.stdout == ""
    assert done.stderr.endswith("Dockerfile is as the template renders it.\n")


def test_what_is_not_the_templates_is_told(project: Path, tmp_path: Path) -> None:
    root = project.with_name("template")
    (project / "notes.txt").write_text("mine\n", encoding="utf-8")

    assert "The template has no notes.txt" in upstream(root, project / "notes.txt", 1).stderr
    shutil.copy(project / "Dockerfile", tmp_path / "Dockerfile")
    assert "is no file of a project" in upstream(root, tmp_path / "Dockerfile", 1).stderr


def test_a_release_that_the_clone_has_not_is_told(project: Path) -> None:
    root = project.with_name("template")
    git(root, "tag", "--delete", WORK_TREE)

    said = upstream(root, project / "Dockerfile", 1).stderr

    assert said == (
        f"This clone has no {WORK_TREE}, from which the project was made: `git fetch --tags` gets"
        " it.\n"
    )
