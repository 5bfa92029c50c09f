"""What a team does to its project in two years: edits it was told about, and edits it was not."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFLICT = re.compile(
    r"^<<<<<<< before updating$.*?^>>>>>>> after updating$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Edit:
    """A change of one file: lines at its end, or in place of others; no lines at all remove it."""

    path: str
    added: str | None
    instead_of: str = ""

    def apply(self, project: Path) -> None:
        """Make the change; raise LookupError when the file is not as it is expected."""
        path = project / self.path
        if self.added is None:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif self.instead_of:
            text = path.read_text(encoding="utf-8")
            if self.instead_of not in text:
                raise LookupError(f"{self.path} has no {self.instead_of!r}.")
            path.write_text(text.replace(self.instead_of, self.added, 1), encoding="utf-8")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(self.added)

    def survives(self, project: Path) -> bool:
        """Tell whether the change is there, in a conflict at least."""
        path = project / self.path
        if self.added is None:
            return not path.exists()
        return path.is_file() and self.added in path.read_text(encoding="utf-8")

    def is_shown(self, project: Path) -> bool:
        """Tell whether the change is part of a conflict."""
        path = project / self.path
        if self.added is None or not path.is_file():
            return False
        conflicts = CONFLICT.findall(path.read_text(encoding="utf-8"))
        return any(line in block for block in conflicts for line in self.added.split("\n") if line)


def extension_edits(project: Path, answers: Mapping[str, str]) -> list[Edit]:
    """Return edits of files that docs/updating.md calls the team's; each leaves a working project.

    What a former release has not yet is left out: the path is missing in `project`.
    """
    package = answers["package_name"]
    settings = f"src/{package}/settings"
    csp = (
        'SECURE_CSP["img-src"] += ["https://images.example.com"]\n'
        if answers["django_version"] == "6.1"
        else 'CONTENT_SECURITY_POLICY["DIRECTIVES"]["img-src"] += ["https://images.example.com"]\n'
    )
    uv = answers["package_manager"] == "uv"
    edits = [
        # An app of its own, with a page.
        Edit("src/orders/__init__.py", '"""What customers order."""\n'),
        Edit("src/orders/middleware.py", MIDDLEWARE),
        Edit("src/orders/views.py", VIEWS),
        Edit("tests/orders/test_orders.py", TESTS),
        Edit(f"src/{package}/urls.py", "from orders import views\n\nurlpatterns = [\n"
             '    path("orders/", views.orders),\n', "urlpatterns = [\n"),
        Edit(f"src/{package}/urls.py", 'admin.site.site_header = "Orders"\n'),
        # Settings of all environments: apps and middleware by position, removal, data.
        Edit(f"{settings}/base.py", '["orders", "accounts"', '["accounts"'),
        Edit(f"{settings}/base.py", "from common.environment import Environment\n\n"
             "from .defaults.base import *\n", "from .defaults.base import *\n"),
        Edit(f"{settings}/base.py", 'INSTALLED_APPS += ["django.contrib.humanize"]\n'),
        Edit(f"{settings}/base.py", "MIDDLEWARE.insert(\n"
             '    MIDDLEWARE.index("django.middleware.common.CommonMiddleware"),\n'
             '    "orders.middleware.TenantMiddleware",\n)\n'),
        Edit(f"{settings}/base.py",
             'MIDDLEWARE.remove("django.middleware.clickjacking.XFrameOptionsMiddleware")\n'),
        Edit(f"{settings}/base.py", 'LOGGING["loggers"]["orders"] = {"level": "DEBUG"}\n'),
        Edit(f"{settings}/base.py", 'STORAGES["default"]["OPTIONS"] = {"base_url": "/files/"}\n'),
        Edit(f"{settings}/base.py", csp),
        Edit(f"{settings}/base.py", "env = Environment()\n"
             'PAYMENT_KEY = env.text("PAYMENT_KEY", "The key of the payment service.")\n'),
        # Settings of one.
        Edit(f"{settings}/development.py", "INTERNAL_IPS = ['127.0.0.1']\n".replace("'", '"')),
        Edit(f"{settings}/production.py", "SESSION_COOKIE_AGE = 3600\n"),
        Edit(f"{settings}/production.py", 'LOGGING["loggers"]["orders"]["level"] = "INFO"\n'),
        Edit(f"{settings}/test.py", "ORDERS_ARE_SENT = False\n"),
        Edit(f"{settings}/__init__.py", '"""The settings of orders."""', '"""Settings of this '
             'service; without a choice of environment, the safe base."""'),
        # Tools.
        Edit("Makefile", "\n.PHONY: orders\norders: ## Send the orders\n\techo sent\n"),
        Edit("ruff.toml", '\n[lint]\nextend-select = ["COM818"]\n'),
        Edit("mypy.ini", "\n[mypy-payments.*]\nignore_missing_imports = true\n"),
        Edit("pytest.toml", 'console_output_style = "count"\n'),
        Edit(".pre-commit-config.yaml", "      - id: orders\n        name: orders\n"
             "        entry: make orders\n        language: system\n"),
        Edit(".gitignore", "/orders.csv\n"),
        Edit(".dockerignore", "!locale\n"),
        Edit(".gitattributes", "*.csv -text\n"),
        Edit(".editorconfig", "[*.csv]\ntrim_trailing_whitespace = false\n"),
        Edit(".env.example", "\nPAYMENT_KEY=only-a-test\n"),
        Edit("tests/conftest.py", '\nimport pytest\n\n\n@pytest.fixture\ndef order() -> int:\n'
             '    """Return the number of an order."""\n    return 7\n'),
        # The image.
        Edit("deploy/docker/packages.txt", "gettext-base # for envsubst\n"),
        Edit("deploy/docker/build-packages.txt", "libxmlsec1-dev\n"),
        Edit("deploy/docker/build.sh", "python manage.py compilemessages\n"),
        # What the project is.
        Edit("pyproject.toml", 'version = "2.3.4"', 'version = "0.1.0"'),
        Edit("pyproject.toml", '\n[tool.coverage.run]\nbranch = true\n'),
        Edit("docs/runbook.md", "# What to do at night\n\nSleep.\n"),
        *(UV_DEPENDENCIES if uv else PIP_DEPENDENCIES),
    ]  # fmt: skip
    later = {"mypy.ini", "pytest.toml"}
    return [
        edit for edit in edits
        if (project / edit.path).exists()
        or not (edit.path in later or edit.path.startswith("deploy/"))
    ]  # fmt: skip


def other_edits(project: Path, answers: Mapping[str, str]) -> list[Edit]:
    """Return edits of files that nobody was told to edit."""
    defaults = f"src/{answers['package_name']}/settings/defaults"
    return [
        Edit("README.md", "\n## Orders\n\nAsk Ada.\n"),
        Edit("README.md", "Write it all down", "Development needs nothing else"),
        Edit("AGENTS.md", "- Never send an order twice.\n"),
        Edit("tests/accounts/test_users.py", None),
        Edit("src/accounts/models.py", "\n\nLONGEST_NAME = 40\n"),
        Edit("LICENSE", "\nOrders are sent without any warranty.\n"),
        # A comment in a managed file, values, and lines at the end.
        Edit(f"{defaults}/base.py", "LANGUAGE_CODE = 'de'".replace("'", '"'),
             "LANGUAGE_CODE = environment.LANGUAGE_CODE"),
        Edit(f"{defaults}/base.py", "# Static files, all of them", "# Static files"),
        Edit(f"{defaults}/production.py", "# Only HTTPS", "# HTTPS"),
        Edit("Dockerfile", "EXPOSE 9000", "EXPOSE 8000"),
        Edit("Dockerfile", "# A number: Kubernetes", "# A number, as Kubernetes"),
        Edit("Dockerfile", "# The end.\n"),
        Edit("project.mk", "PORT ?= 9000", "PORT ?= 8000"),
        Edit("src/common/middleware.py", "\n\nORDERS = 1\n"),
        Edit("docs/configuration.md", "\nAsk Ada about the rest.\n"),
        Edit("tests/common/test_cpu.py", None),
        *([] if (project / "docs/operations.md").exists()
          else [Edit("docs/operations.md", "# How we operate\n\nAt night.\n")]),
    ]  # fmt: skip


def after_years(project: Path) -> dict[str, str]:
    """Write what a project has and no template knows; return the text by path."""
    kept = {
        ".env": "SECRET_KEY=only-here\nDATABASE_URL=postgres://me:secret@db/orders\n",
        "media/receipt.txt": "Thanks.\n",
        "uv.lock": "# the team's lock\n",
        "requirements/production.lock.txt": "# the team's lock\n",
        "secrets/key": "only-here\n",
    }
    for name, text in kept.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    return kept


def reformat(project: Path, ruff: Path) -> None:
    """Run the formatter over everything, as an editor does that formats what it saves."""
    subprocess.run([ruff, "format", "--quiet", "."], cwd=project, check=True)


MIDDLEWARE = '''"""Which customer a request is for."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class TenantMiddleware:
    """Name the customer in a header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["X-Tenant"] = "ada"
        return response
'''

VIEWS = '''"""The pages of orders."""

from django.http import HttpRequest, HttpResponse


def orders(request: HttpRequest) -> HttpResponse:
    """List the orders."""
    return HttpResponse("none")
'''

TESTS = '''"""Orders."""

from django.test import Client


def test_a_page_of_orders_names_the_tenant(client: Client) -> None:
    response = client.get("/orders/")

    assert response.content == b"none"
    assert response["X-Tenant"] == "ada"
'''

# Twelve, and then the bot bumps them.
PINNED = ("arrow", "babel", "cachetools", "docutils", "filetype", "humanize", "inflect", "jinja2",
          "markdown", "pytz", "requests", "tabulate")  # fmt: skip

UV_DEPENDENCIES = [
    Edit("pyproject.toml", "dependencies = [\n" + "".join(f'    "{name}>=1",\n' for name in PINNED)
         + "]", "dependencies = []"),
    Edit("pyproject.toml", '    { include-group = "tooling" },\n    "time-machine>=2",\n]',
         '    { include-group = "tooling" },\n]'),
    *(Edit("pyproject.toml", f'"{name}>=1.1"', f'"{name}>=1"') for name in PINNED),
]  # fmt: skip
PIP_DEPENDENCIES = [
    Edit("requirements/project.txt", "".join(f"{name}>=1\n" for name in PINNED)),
    *(Edit("requirements/project.txt", f"{name}>=1.1\n", f"{name}>=1\n") for name in PINNED),
]


def apply(edits: list[Edit], project: Path) -> list[Edit]:
    """Make the changes in order, and return those that no later one has changed again."""
    for edit in edits:
        edit.apply(project)
    return [edit for edit in edits if edit.survives(project)]
