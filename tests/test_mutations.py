"""The tests of the tests: break the template in the ways it is broken, and see who notices.

Each row of the table breaks a copy of the template in one place and names a test that must fail on
the copy. What is rendered and examined is cut to a few variants, so that a row takes seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.rendering import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.rendering import SharedFolders
    from tests.service import GetService

pytestmark = pytest.mark.slow


class RunTests(Protocol):
    """A template, names of tests and of what is installed in, what pytest says out."""

    def __call__(self, template: Path, *tests: str, installed: Iterable[str]) -> str:
        """Run the tests on that template."""


REPOSITORY = Path(__file__).parents[1]
PACKAGE = "template/src/{@ package_name @}"
DEFAULTS = f"{PACKAGE}/settings/defaults"

WHITENOISE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"


@dataclass(frozen=True)
class Mutation:
    """A way to break the template: what is done to which file, and which test notices.

    `installed` is the service that the test runs the broken code with.
    """

    file: str
    old: str
    new: str
    noticed_by: str
    installed: str = ""


MUTATIONS = {
    # Questions and the manifest
    "a variable in a condition is misspelt": Mutation(
        f"{DEFAULTS}/base.py",
        '# @if task_queue == "celery"\nfrom',
        '# @if task_queu == "celery"\nfrom',
        "test_template.py::test_every_variable_is_a_question",
    ),
    "a file is missing from the manifest": Mutation(
        "copier.yml",
        "    /src/common/heartbeat.py\n",
        "",
        "test_pairwise.py::test_a_choice_leaves_no_trace_where_it_was_not_made[task_queue=celery]",
    ),
    "a file in the manifest is misspelt": Mutation(
        "copier.yml",
        "    /src/common/rabbitmq.py\n",
        "    /src/common/rabitmq.py\n",
        "test_template.py::test_every_path_of_the_manifest_exists",
    ),
    "the template runs a command": Mutation(
        "copier.yml",
        "_subdirectory: template\n",
        "_subdirectory: template\n_tasks: [make setup]\n",
        "test_template.py::test_nothing_needs_trust",
    ),
    "a starter file depends on a switch": Mutation(
        "template/src/pages/urls.py",
        '"""The addresses of the public pages."""\n',
        '"""The addresses of the public pages."""\n\n# @if task_queue == "celery"\n# @endif\n',
        "test_pairwise.py::test_no_starter_file_uses_an_answer_that_can_be_switched",
    ),
    # Rendering
    "a statement is not taken as one": Mutation(
        "template/project.mk",
        ".DEFAULT_GOAL := help\n",
        '.DEFAULT_GOAL := help\n#@if task_queue == "celery"\n#@endif\n',
        "test_pairwise.py::test_nothing_of_the_template_is_left",
    ),
    "a variable has the delimiters of another engine": Mutation(
        "template/README.md",
        "docker build --tag {@ project_slug @} .",
        "docker build --tag {{ project_slug }} .",
        "test_pairwise.py::test_nothing_of_the_template_is_left",
    ),
    "what a person wrote is not quoted": Mutation(
        "template/pyproject.toml",
        "{@ (description | to_json(ensure_ascii=False))[1:-1] @}",
        "{@ description @}",
        "test_pairwise.py::test_every_file_is_of_the_language_that_its_name_says",
    ),
    "a line is too long for a long name": Mutation(
        "template/src/common/heartbeat.py",
        'Path(tempfile.gettempdir(), f"{SLUG}-{USER}")',
        'Path(tempfile.gettempdir(), "{@ project_slug @}" + f"-{USER}")',
        "test_pairwise.py::test_ruff_finds_nothing[format --check]",
    ),
    "blank lines stand on the wrong side of a statement": Mutation(
        "template/src/common/checks.py",
        "\n\ndef _policy()",
        '# @if task_queue == "celery"\n# @endif\n\n\ndef _policy()',
        "test_pairwise.py::test_ruff_finds_nothing[format --check]",
    ),
    "a file is another one on another day": Mutation(
        "template/docs/operations.md",
        "Workers x threads",
        "In {@ '%Y' | strftime @} workers x threads",
        "test_determinism.py::test_another_day_place_user_and_locale_give_the_same_bytes[first]",
    ),
    # Dependencies
    "a dependency is left out": Mutation(
        "template/pyproject.toml",
        '    "django-permissions-policy>=4.34,<5",\n',
        "",
        "test_pairwise_inside.py::test_every_dotted_path_in_the_settings_leads_somewhere",
    ),
    "one package manager lacks a dependency": Mutation(
        "template/requirements/base.txt",
        "hiredis>=3.5,<4\n",
        "",
        "test_pairwise.py::test_both_package_managers_install_the_same[base-base]",
    ),
    "a module imports an option that is off": Mutation(
        "template/src/common/sentry.py",
        "import sentry_sdk\n",
        "import celery  # noqa: F401 (a mistake)\nimport sentry_sdk\n",
        "test_pairwise_inside.py::test_every_module_imports",
    ),
    # Settings
    "a setting is misspelt": Mutation(
        f"{DEFAULTS}/production.py",
        "SECURE_HSTS_SECONDS = ",
        "SECURE_HTTS_SECONDS = ",
        "test_pairwise_inside.py::test_every_setting_is_read_by_something",
    ),
    "static storage has the name that Django gave up": Mutation(
        f"{DEFAULTS}/base.py",
        f'"staticfiles": {{"BACKEND": "{WHITENOISE}"}},\n}}\n',
        f'"staticfiles": {{"BACKEND": "{PLAIN}"}},\n}}\nSTATICFILES_STORAGE = "{WHITENOISE}"\n',
        "test_pairwise_inside.py::test_every_setting_is_read_by_something",
    ),
    "HSTS is off": Mutation(
        f"{DEFAULTS}/environment.py",
        "default=31_536_000,",
        "default=0,",
        "test_pairwise_inside.py::test_djangos_deployment_checks_are_clean",
    ),
    "the probe stands behind the redirect to HTTPS": Mutation(
        f"{DEFAULTS}/base.py",
        '    "common.middleware.HealthMiddleware",\n'
        '    "common.middleware.RequestIdMiddleware",\n'
        '    "django.middleware.security.SecurityMiddleware",\n',
        '    "common.middleware.RequestIdMiddleware",\n'
        '    "django.middleware.security.SecurityMiddleware",\n'
        '    "common.middleware.HealthMiddleware",\n',
        "test_pairwise_inside.py::test_a_probe_is_answered_where_a_page_is_not",
    ),
    "a migration is missing": Mutation(
        "template/src/accounts/models.py",
        '    USERNAME_FIELD = "email"\n',
        '    USERNAME_FIELD = "email"\n    nickname = models.CharField(max_length=9)\n',
        "test_pairwise_inside.py"
        "::test_other_settings_load_and_no_migration_is_missing[development]",
    ),
    # Versions and workflows
    "one package has two floors": Mutation(
        "template/requirements/base.txt",
        "gunicorn>=",
        "gunicorn>=1,>=",
        "test_versions.py::test_the_pins_of_one_thing_are_equal_everywhere",
    ),
    "one image stands in two versions": Mutation(
        "template/docker-compose.prod.yml",
        "redis:8}",
        "redis:8.2}",
        "test_versions.py::test_the_pins_of_one_thing_are_equal_everywhere",
    ),
    "an action is whatever its tag says today": Mutation(
        "template/.github/workflows/gates.yml",
        "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1  # v7.0.1",
        "actions/checkout@v7",
        "test_linters.py::test_a_linter_finds_nothing[zizmor]",
    ),
    "no bot sees an image": Mutation(
        ".github/dependabot.yml",
        "      - /template/deploy/monitoring\n",
        "",
        "test_repository.py::test_the_bots_look_at_every_file_with_a_pin",
    ),
    # Behaviour, with real servers
    "each worker loads the views again": Mutation(
        f"{PACKAGE}/wsgi.py",
        "    get_resolver().reverse_dict",
        "    get_resolver()",
        "test_preload.py::test_views_are_loaded_once_and_shared_by_the_workers",
        installed="production default",
    ),
    "the hook that closes inherited connections is gone": Mutation(
        "template/gunicorn.conf.py",
        "def pre_fork(",
        "def before_the_fork(",
        "test_preload.py::test_no_request_sees_the_row_of_another[kept-sync]",
        installed="production default",
    ),
    "a task whose process is lost is neither tried again nor given back": Mutation(
        f"{DEFAULTS}/celery.py",
        "CELERY_TASK_RETRY_ON_WORKER_LOST = True\nCELERY_TASK_REJECT_ON_WORKER_LOST = True\n",
        "",
        "test_celery.py::test_a_task_whose_process_is_killed_is_done_again[redis]",
        installed="production default",
    ),
    "an upload takes the place of another": Mutation(
        f"{DEFAULTS}/media.py",
        '"file_overwrite": False,',
        '"file_overwrite": True,',
        "test_media.py::test_an_upload_is_not_overwritten",
        installed="production s3",
    ),
    # Production on one server
    "a container keeps its capabilities": Mutation(
        "template/docker-compose.prod.yml",
        "  cap_drop: [ALL]\n",
        "",
        "test_compose_prod.py::test_every_container_is_hardened[default]",
    ),
    "web starts before the migrations are through": Mutation(
        "template/docker-compose.prod.yml",
        "service_completed_successfully",
        "service_started",
        "test_compose_prod.py"
        "::test_what_serves_waits_for_the_migrations_and_for_its_servers[default]",
    ),
    "a cache that is full refuses to cache": Mutation(
        "template/docker-compose.prod.yml",
        "- allkeys-lru",
        "- noeviction",
        "test_compose_prod.py"
        "::test_a_cache_that_is_full_makes_room_and_a_broker_loses_nothing[default]",
    ),
    "the database is in a network with a way out": Mutation(
        "template/docker-compose.prod.yml",
        "{internal: true}",
        "{}",
        "test_compose_prod.py::test_only_what_must_reaches_the_database[default]",
    ),
    "a deploy replaces what serves before the next is ready": Mutation(
        "template/scripts/deploy.py",
        '"--no-recreate", ',
        "",
        "test_compose_prod.py"
        "::test_what_takes_over_starts_beside_what_runs_once_the_schema_is_there",
    ),
    "a new container serves before it is ready": Mutation(
        "template/scripts/deploy.py",
        'return "" if said == "ready" else',
        'return "" if said else',
        "test_compose_prod.py::test_what_a_wait_in_vain_was_for_is_told",
    ),
    # Delivery
    "a tag that is not the version is released": Mutation(
        "template/scripts/deliver.py",
        'if tag != f"v{version}":',
        "if not tag:",
        "test_delivery.py::test_a_tag_must_be_the_version_of_the_project",
    ),
    "a release that does not answer goes on": Mutation(
        "template/scripts/deliver.py",
        " && {back} && make rollback",
        "",
        "test_delivery.py::test_a_release_that_does_not_answer_is_rolled_back",
    ),
    "the key of a server is not asked for": Mutation(
        "template/scripts/deliver.py",
        '"StrictHostKeyChecking": "yes"',
        '"StrictHostKeyChecking": "no"',
        "test_delivery.py::test_a_release_is_deployed_by_one_command_on_the_server",
    ),
    # Gates
    "a gate that fails does not fail the run": Mutation(
        "template/scripts/ci.py",
        "        return 1\n    say(",
        "        return 0\n    say(",
        "test_gates.py::test_what_an_update_has_left_is_found",
    ),
    "a fork of migrations passes its gate": Mutation(
        "template/scripts/migration_safety.py",
        "return 1 if forks else 0",
        "return 0",
        "test_gates.py::test_a_fork_of_migrations_is_found[default]",
        installed="development default",
    ),
    # Secrets
    ".env is not ignored": Mutation(
        "template/.gitignore",
        ".env\n.env.*\n",
        "",
        "test_pairwise.py::test_git_ignores_secrets_and_what_is_made",
    ),
    "everything gets into the image": Mutation(
        "template/.dockerignore",
        "*\n!.python-version\n",
        "!.python-version\n",
        "test_pairwise.py::test_no_secret_gets_into_the_image",
    ),
    "a key stands in the image": Mutation(
        "template/Dockerfile",
        "    PYTHONUNBUFFERED=1\n",
        "    PYTHONUNBUFFERED=1 \\\n    SECRET_KEY=not-so-secret\n",
        "test_pairwise.py::test_the_image_holds_no_secret_in_its_variables",
    ),
    # Documents and linters
    "a variable is not documented": Mutation(
        "template/docs/configuration.md",
        "| `LOG_LEVEL` |",
        "| `LOUDNESS` |",
        "test_pairwise_inside.py::test_every_variable_has_its_row_in_the_documents",
    ),
    "a link leads nowhere": Mutation(
        "template/README.md",
        "(docs/operations.md)",
        "(docs/operating.md)",
        "test_pairwise.py::test_links_in_the_documents_resolve",
    ),
    "a document speaks of an option that is off": Mutation(
        "template/docs/operations.md",
        "Workers x threads",
        "Celery's workers, and workers x threads",
        "test_pairwise.py::test_a_choice_leaves_no_trace_where_it_was_not_made[task_queue=celery]",
    ),
    "a linter is silenced without a reason": Mutation(
        "template/Dockerfile",
        "# No versions here either.\n",
        "",
        "test_linters.py::test_every_exception_from_a_rule_has_its_reason",
    ),
    "the image is built by a habit that hadolint knows": Mutation(
        "template/Dockerfile",
        "COPY --from=builder /app /app\n",
        "ADD --chown=0 src /app/src\n",
        "test_linters.py::test_a_linter_finds_nothing[hadolint]",
    ),
}


@pytest.fixture(scope="module")
def run_tests(
    service: GetService,
    development: GetService,
    shared: SharedFolders,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunTests:
    """Return what runs tests of this suite on another template, with what is installed already."""
    environments = tmp_path_factory.mktemp("environments")

    def run(template: Path, *tests: str, installed: Iterable[str]) -> str:
        for name in filter(None, installed):
            kind, variant = name.split()
            {"production": service, "development": development}[kind](variant)
        options = ["--quiet", "--few-variants", "--numprocesses=0", "-p", "no:cacheprovider"]
        nodes = [f"tests/{test}" for test in tests]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"--basetemp={template}-run", *nodes],
            cwd=REPOSITORY,
            env={
                **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
                "SHIPSHAPE_ENVIRONMENTS": str(environments),
                "SHIPSHAPE_ROOT": str(template),
                "SHIPSHAPE_SERVICES": str(shared.root),
            },
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        return done.stdout + done.stderr

    return run


@pytest.fixture
def template(shared: SharedFolders, tmp_path: Path) -> Path:
    """Return a copy of the template to break, under git, as tests ask it for the files."""
    folder = tmp_path / "template"
    shutil.copytree(shared.get("template", take_snapshot), folder)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


def test_an_unbroken_copy_passes(template: Path, run_tests: RunTests) -> None:
    named = sorted({mutation.noticed_by for mutation in MUTATIONS.values()})
    installed = sorted({mutation.installed for mutation in MUTATIONS.values()})

    output = run_tests(template, *named, installed=installed)

    assert f"\n{len(named)} passed in " in output, output


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_template_is_noticed(template: Path, run_tests: RunTests, name: str) -> None:
    mutation = MUTATIONS[name]
    file = template / mutation.file
    text = file.read_text(encoding="utf-8")
    assert mutation.old in text, f"{mutation.file} has changed: break it in another way."
    file.write_text(text.replace(mutation.old, mutation.new, 1), encoding="utf-8")

    output = run_tests(template, mutation.noticed_by, installed=[mutation.installed])

    failed = rf"^FAILED tests/{re.escape(mutation.noticed_by)}( |$)"
    assert re.search(failed, output, re.MULTILINE), output


def test_figures(record_property: Callable[[str, object], None]) -> None:
    tests = {mutation.noticed_by.partition("[")[0] for mutation in MUTATIONS.values()}

    assert len(MUTATIONS) >= 15
    record_property(
        "figure", f"{len(MUTATIONS)} ways to break the template, noticed by {len(tests)} tests"
    )
