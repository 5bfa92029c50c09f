"""What each variant is made of, rendered as `copier copy` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.rendering import ROOT, VARIANTS, questions

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_copie.plugin import Copie


def copy(copie: Copie, **answers: str) -> Path:
    """Render the work tree with pytest-copie, which would let an error or a typo pass."""
    assert answers.keys() <= questions().keys()
    result = copie.copy(extra_answers=answers, template_dir=ROOT)
    assert result.exception is None
    assert result.exit_code == 0
    assert result.project_dir is not None
    recorded = yaml.safe_load(
        (result.project_dir / ".copier-answers.yml").read_text(encoding="utf-8")
    )
    assert recorded.items() >= answers.items()
    project: Path = result.project_dir
    return project


def files(project: Path) -> set[str]:
    """Return the paths of all files."""
    return {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_what_a_service_needs(copie: Copie, variant: str) -> None:
    project = copy(copie, **VARIANTS[variant])
    assert {
        ".copier-answers.yml",
        ".env.example",
        ".gitignore",
        ".python-version",
        "AGENTS.md",
        "Dockerfile",
        "LICENSE",
        "Makefile",
        "README.md",
        "docs/configuration.md",
        "docs/operations.md",
        "docs/updating.md",
        "gunicorn.conf.py",
        "manage.py",
        "project.mk",
        "pyproject.toml",
        "scripts/bootstrap.py",
        "src/common/views/health.py",
        "src/my_service/asgi.py",
        "src/my_service/settings/__init__.py",
        "src/my_service/settings/base.py",
        "src/my_service/settings/development.py",
        "src/my_service/settings/production.py",
        "src/my_service/urls.py",
        "src/my_service/wsgi.py",
    } <= files(project)


@pytest.mark.parametrize("variant", VARIANTS)
def test_locks_and_secrets_are_made_in_the_project_and_never_rendered(
    copie: Copie, variant: str
) -> None:
    made = {".env", "uv.lock", "requirements/production.lock.txt", "db.sqlite3"}
    assert not made & files(copy(copie, **VARIANTS[variant]))


def test_the_package_is_named_after_the_project(copie: Copie) -> None:
    project = copy(copie, project_name="Order Desk")
    assert (project / "src" / "order_desk" / "wsgi.py").exists()
    assert 'name = "order-desk"' in (project / "pyproject.toml").read_text(encoding="utf-8")


def test_pip_lists_its_dependencies_in_requirements_and_uv_in_groups(copie: Copie) -> None:
    with_uv, with_pip = copy(copie), copy(copie, package_manager="pip")
    lists = {f"requirements/{n}.txt" for n in ("base", "development", "production", "project")}
    assert lists <= files(with_pip)
    assert not lists & files(with_uv)
    assert "[dependency-groups]" in (with_uv / "pyproject.toml").read_text(encoding="utf-8")
    assert "[dependency-groups]" not in (with_pip / "pyproject.toml").read_text(encoding="utf-8")
