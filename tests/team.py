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


def example(project: Path, path: str) -> Edit:
    """Return the edit that makes a file's example count, which is a comment."""
    lines = (project / path).read_text(encoding="utf-8").splitlines(keepends=True)
    marked = [line for line in lines if line.startswith("#   ")]
    return Edit(path, "".join(line.removeprefix("#   ") for line in marked), "".join(marked))


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
        Edit(f"{settings}/base.py", 'del PERMISSIONS_POLICY["camera"]\n'),
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
        # Services in production.
        Edit("docker-compose.prod.override.yml", "services:\n  search:\n    image: search:1\n"
             "  web:\n    mem_limit: 1G\n", "services: {}\n"),
        # Development in containers.
        Edit("docker-compose.override.yml",
             'services:\n  postgres:\n    ports: ["127.0.0.1:5432:5432"]\n'
             "  payments:\n    image: example/payments:2\n", "services: {}\n"),
        Edit(".devcontainer/devcontainer.json", '"forwardPorts": [8000, 9000,',
             '"forwardPorts": [8000,'),
        # Delivery.
        Edit("Makefile", "\nGATES = orders\nCOVERAGE = 90\n"),
        Edit("deploy/ci.env", "PAYMENT_KEY=only-a-test\n"),
        Edit("renovate.json", '"schedule:daily"', '"schedule:weekly"'),
        Edit(".github/workflows/ci.yml", "  orders:\n    name: Orders\n    needs: gates\n"
             "    runs-on: ubuntu-24.04\n    timeout-minutes: 5\n    steps:\n      - run: echo\n"),
        Edit(".gitlab-ci.yml", "orders:\n  stage: gates\n  script: [echo]\n"),
        # What the project is.
        Edit("pyproject.toml", 'version = "2.3.4"', 'version = "0.1.0"'),
        Edit("pyproject.toml", '\n[tool.coverage.run]\nbranch = true\n'),
        Edit("docs/runbook.md", "# What to do at night\n\nSleep.\n"),
        *(UV_DEPENDENCIES if uv else PIP_DEPENDENCIES),
    ]  # fmt: skip
    later = {
        ".devcontainer/devcontainer.json",
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        "docker-compose.override.yml",
        "docker-compose.prod.override.yml",
        "mypy.ini",
        "pytest.toml",
        "renovate.json",
    }
    return [
        edit for edit in edits
        if (project / edit.path).exists()
        or not (edit.path in later or edit.path.startswith("deploy/"))
    ]  # fmt: skip


def other_edits(project: Path, answers: Mapping[str, str]) -> list[Edit]:
    """Return edits of files that nobody was told to edit, and an app of the start that goes."""
    package = f"src/{answers['package_name']}"
    defaults = f"{package}/settings/defaults"
    return [
        Edit("src/pages", None),
        Edit("tests/pages", None),
        Edit(f"{package}/urls.py", "", '    path("", include("pages.urls")),\n'),
        Edit(f"{package}/settings/base.py", '"accounts", *', '"accounts", "pages", *'),
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


# What the documents invite to, each of which is no business of the tests in tests/common.
FREEDOMS = """
READINESS_CHECKS["payments"] = "orders.nowhere.check_payments"
READINESS_TIMEOUT = 0.1
LOGGING["root"]["level"] = "CRITICAL"
LOGGING["loggers"]["common"] = {"level": "CRITICAL", "propagate": False}
LOGGING["disable_existing_loggers"] = True
MIDDLEWARE.append("orders.middleware.TenantMiddleware")
APPEND_SLASH = False
PREPEND_WWW = True
SECURE_SSL_REDIRECT = True
LANGUAGE_CODE = "ar"
TIME_ZONE = "Asia/Kathmandu"
USE_TZ = False
CACHES["default"] = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
SECURE_CSP = {"default-src": ["'self'"], "upgrade-insecure-requests": True}
CONTENT_SECURITY_POLICY = None
STORAGES["archive"] = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
SILENCED_SYSTEM_CHECKS += ["common.E001", "common.W001"]
"""

# A service for other programs: neither pages nor people who sign in to them.
NO_PAGES = """
for app in ("admin", "sessions", "messages"):
    INSTALLED_APPS.remove(f"django.contrib.{app}")
MIDDLEWARE = ["common.middleware.HealthMiddleware"]
TEMPLATES = []
"""

# By the names of docs/configuration.md, but for what names a server, which would be asked.
VARIABLES = {
    "SECRET_KEY": "only-here",
    "SECRET_KEY_FALLBACKS": "before",
    "DEBUG": "0",
    "ALLOWED_HOSTS": "example.com",
    "CSRF_TRUSTED_ORIGINS": "https://example.com",
    "DATABASE_CONN_MAX_AGE": "0",
    "DATABASE_CONNECT_TIMEOUT": "9",
    "DATABASE_STATEMENT_TIMEOUT": "0",
    "PGBOUNCER": "1",
    "CELERY_VISIBILITY_TIMEOUT": "7200",
    "CELERY_RESTORE_INTERVAL": "60",
    "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
    "CELERY_RESULT_EXPIRES": "60",
    "CELERY_WORKER_CONCURRENCY": "3",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "1",
    "CELERY_WORKER_MAX_TASKS_PER_CHILD": "7",
    "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT": "7",
    "CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE": "0",
    "CELERY_TASK_TIME_LIMIT": "9",
    "CELERY_TASK_SOFT_TIME_LIMIT": "7",
    "CELERY_TASK_RETRY_DELAY": "7",
    "CELERY_TASK_MAX_RETRIES": "7",
    "CELERY_STATE_FOLDER": "/nowhere",
    "READY_CHECK_BROKER": "1",
    "MEDIA_ROOT": "/nowhere",
    "AWS_STORAGE_BUCKET_NAME": "receipts",
    "AWS_S3_REGION_NAME": "eu-central-1",
    "AWS_S3_ENDPOINT_URL": "https://s3.example.com",
    "AWS_S3_ADDRESSING_STYLE": "path",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "hush",
    "AWS_SESSION_TOKEN": "token",
    "AWS_QUERYSTRING_EXPIRE": "7",
    "EMAIL_URL": "smtp://127.0.0.1:1",
    "DEFAULT_FROM_EMAIL": "ada@example.com",
    "SECURE_SSL_REDIRECT": "0",
    "SECURE_HSTS_SECONDS": "0",
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": "1",
    "SECURE_HSTS_PRELOAD": "1",
    "TRUST_X_FORWARDED_PROTO": "1",
    "WHITENOISE_MAX_AGE": "7",
    "READY_CHECK_TIMEOUT": "0.1",
    "METRICS_PORT": "9100",
    "LOG_LEVEL": "CRITICAL",
    "TIME_ZONE": "Europe/Berlin",
    "LANGUAGE_CODE": "de",
    "SENTRY_DSN": "https://key@127.0.0.1:1/1",
    "SENTRY_ENVIRONMENT": "staging",
    "SENTRY_RELEASE": "7",
    "SENTRY_TRACES_SAMPLE_RATE": "1",
    "GUNICORN_WORKER_CLASS": "sync",
    "HOST": "0.0.0.0",
    "PORT": "9000",
    "GUNICORN_WORKERS": "7",
    "WEB_CONCURRENCY": "7",
    "GUNICORN_THREADS": "7",
    "GUNICORN_LOG_LEVEL": "error",
    "GUNICORN_KEEPALIVE": "7",
    "GUNICORN_GRACEFUL_TIMEOUT": "7",
}
SERVERS = {"CACHE_URL", "CELERY_BROKER_URL", "DATABASE_URL"}


def free_edits(tree: Path, package: str) -> dict[str, list[Edit]]:
    """Return what a team is free to do, by how it does it: settings, less of them, variables."""
    base = f"src/{package}/settings/base.py"
    # Its own tests go with what they test.
    own = [Edit(name, None) for name in ("tests/accounts", "tests/pages")]
    page = (tree / "docs/configuration.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)^\| `([A-Z_0-9]+)`", page)) - SERVERS
    urls = f"src/{package}/urls.py"
    return {
        "settings": [
            *own,
            Edit("src/orders/__init__.py", ""),
            Edit("src/orders/middleware.py", MIDDLEWARE),
            Edit(base, FREEDOMS),
        ],
        "no pages": [
            *own,
            Edit(base, NO_PAGES),
            Edit(urls, "urlpatterns = []\n", (tree / urls).read_text(encoding="utf-8")),
        ],
        "variables": [
            Edit(".env", "".join(f"{name}={VARIABLES[name]}\n" for name in sorted(named)))
        ],
    }
