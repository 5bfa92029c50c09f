"""The verification checklist and the next steps of the plan that this template began with.

Each test has the name of its item. The commands are run as they are written there, from the root of
the project, but for the name of the package.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.laboratory import NOWHERE, collect_static_files, deployed
from tests.rendering import VARIANTS
from tests.servers import answers_http, free_port, http_request
from tests.service import SEED_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.rendering import Render
    from tests.servers import PostgresServer, RedisServer
    from tests.service import GetService, Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def local(service: GetService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Return a service as on a developer's machine: nothing is configured, the database is new."""
    copy = service().copy(tmp_path_factory.mktemp("checklist") / "service")
    copy.run("python", "manage.py", "migrate", "--verbosity", "0")
    return copy


@pytest.fixture(scope="module")
def runserver(local: Service) -> Iterator[str]:
    """Start Django's own server, and return its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = ("python", "manage.py", "runserver", "--noreload", str(port))
    with local.start(*command, env={}, log="runserver") as process:
        process.wait_until(lambda: answers_http(f"{address}/health/"), "it answered")
        yield address


def settings_of(service: Service, *names: str, env: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  settings may be anything
    """Return the values that these names have under production settings."""
    script = (
        "import json, sys; from django.conf import settings;"
        "print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}))"
    )
    given = {
        **SEED_ENVIRONMENT,
        **NOWHERE,
        "DJANGO_SETTINGS_MODULE": f"{service.package}.settings.production",
        **(env or {}),
    }
    return json.loads(service.run("python", "-c", script, *names, env=given).stdout)


# Local testing


def test_django_check_passes(local: Service) -> None:
    done = local.run("python", "manage.py", "check")

    assert done.stdout == "System check identified no issues (0 silenced).\n"
    assert done.stderr == ""


def test_health_endpoint_works(runserver: str) -> None:
    assert http_request(f"{runserver}/health/").status == 200


def test_readiness_endpoint_works(runserver: str) -> None:
    answer = http_request(f"{runserver}/ready/")

    assert answer.status == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": True, "cache": True},
        "service": "my-service",
    }


@pytest.mark.parametrize("module", ["", ".base", ".development", ".test"])
def test_settings_package_structure_works(local: Service, module: str) -> None:
    script = f"from {local.package}.settings{module} import *; print(ROOT_URLCONF, DEBUG)"

    debug = module == ".development"
    assert local.run("python", "-c", script).stdout == f"{local.package}.urls {debug}\n"


def test_no_staticfiles_dirs_warning(local: Service) -> None:
    for settings in ("development", "test"):
        done = local.manage("check", "--tag", "staticfiles", settings=settings)
        assert "staticfiles.W004" not in done.stdout + done.stderr
        assert "no issues (0 silenced)" in done.stdout


# Production readiness


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_production_settings_module_created_with_security_hardening(
    service: GetService, variant: str
) -> None:
    expected = {
        "DEBUG": False,
        "ALLOWED_HOSTS": ["yourdomain.com", "www.yourdomain.com"],
        "CSRF_TRUSTED_ORIGINS": ["https://yourdomain.com"],
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_CONTENT_TYPE_NOSNIFF": True,
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "CSRF_COOKIE_SECURE": True,
        "X_FRAME_OPTIONS": "DENY",
    }

    assert settings_of(service(variant), *expected) == expected


@pytest.mark.parametrize("value", ["1", "True"])
def test_production_does_not_run_with_debug(service: GetService, value: str) -> None:
    assert settings_of(service(), "DEBUG", env={"DEBUG": value}) == {"DEBUG": False}


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_whitenoise_middleware_added(service: GetService, variant: str) -> None:
    settings = settings_of(
        service(variant),
        "MIDDLEWARE",
        "STORAGES",
        "WHITENOISE_AUTOREFRESH",
        "WHITENOISE_USE_FINDERS",
        "WHITENOISE_MAX_AGE",
    )

    security = settings["MIDDLEWARE"].index("django.middleware.security.SecurityMiddleware")
    assert settings["MIDDLEWARE"][security + 1] == "whitenoise.middleware.WhiteNoiseMiddleware"
    assert settings["STORAGES"]["staticfiles"] == {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
    }
    assert settings["WHITENOISE_AUTOREFRESH"] is False
    assert settings["WHITENOISE_USE_FINDERS"] is False
    # Hashed files are kept for ever whatever this says; see test_static.py.
    assert settings["WHITENOISE_MAX_AGE"] == 60


def test_psycopg2_source_driver_specified(render: Render, service: GetService) -> None:
    requirements = render(**VARIANTS["pip"]) / "requirements"
    production = "".join(
        (requirements / f"{name}.txt").read_text() for name in ("base", "production", "project")
    )
    installed = service("pip").run(
        "python", "-c", "import psycopg2; print(psycopg2.__file__, psycopg2.__libpq_version__)"
    )
    libraries = service("pip").python.parents[1].glob("lib/*/site-packages/psycopg2_binary*")

    assert re.search(r"^psycopg2>=2\.9\.(9|[1-9]\d)\b", production, re.MULTILINE)
    assert "binary" not in production
    # Debian's libpq, not one that came in a wheel.
    assert str(service("pip").path) in installed.stdout
    assert list(libraries) == []


def test_psycopg_is_compiled_as_well(service: GetService) -> None:
    script = "from psycopg import pq; print(pq.__impl__)"

    assert service().run("python", "-c", script).stdout == "c\n"


def gunicorn_settings(service: Service, **env: str) -> dict[str, str]:
    """Return what gunicorn makes of its configuration."""
    application = "wsgiref.simple_server:demo_app"  # which it wants to load, too
    command = ("gunicorn", "--config", "gunicorn.conf.py", "--print-config", application)
    lines = service.run(*command, env=env).stdout
    return dict(re.findall(r"^(\w+)\s+= (.*)$", lines, re.MULTILINE))


def test_gunicorn_configuration_created(service: GetService) -> None:
    expected = {
        "max_requests": "1000",
        "max_requests_jitter": "100",
        "timeout": "120",
        "graceful_timeout": "30",
        "accesslog": "-",
        "errorlog": "-",
        "preload_app": "True",
        "worker_tmp_dir": "/dev/shm",  # noqa: S108  gunicorn's name for it
        "control_socket_disable": "True",
    }

    assert gunicorn_settings(service()).items() >= expected.items()


def test_gunicorn_takes_its_environment_variables(service: GetService) -> None:
    given = {
        "GUNICORN_WORKERS": "17",
        "GUNICORN_WORKER_CLASS": "gthread",
        "GUNICORN_THREADS": "9",
        "GUNICORN_LOG_LEVEL": "debug",
    }
    expected = {"workers": "17", "worker_class": "gthread", "threads": "9", "loglevel": "debug"}

    assert gunicorn_settings(service(), **given).items() >= expected.items()


def test_gunicorn_takes_the_variables_of_what_is_around_it(service: GetService) -> None:
    given = {
        "WEB_CONCURRENCY": "7",
        "GUNICORN_KEEPALIVE": "65",
        "GUNICORN_GRACEFUL_TIMEOUT": "20",
    }
    expected = {"workers": "7", "keepalive": "65", "graceful_timeout": "20"}

    assert gunicorn_settings(service(), **given).items() >= expected.items()
    assert gunicorn_settings(service(), **given, GUNICORN_WORKERS="3")["workers"] == "3"


@pytest.mark.parametrize(("processors", "workers"), [(1, 3), (2, 5), (5, 11), (64, 12)])
def test_gunicorn_starts_two_workers_for_each_processor_and_one(
    service: GetService, processors: int, workers: int
) -> None:
    script = (
        f"import os, runpy; os.sched_getaffinity = lambda _: range({processors});"
        "from common import cpu; cpu._quota = lambda _: None;"
        "print(runpy.run_path('gunicorn.conf.py')['workers'])"
    )

    assert service().run("python", "-c", script).stdout == f"{workers}\n"


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_celery_production_settings_added(service: GetService, variant: str) -> None:
    expected = {
        "CELERY_WORKER_MAX_TASKS_PER_CHILD": 1000,
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 4,
        "CELERY_TASK_TIME_LIMIT": 300,
        "CELERY_TASK_SOFT_TIME_LIMIT": 240,
        "CELERY_TASK_ACKS_LATE": True,
        "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT": 60.0,
        "CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE": True,
    }

    assert settings_of(service(variant), *expected) == expected


# Next steps


def test_install_new_dependencies(service: GetService, tmp_path: Path) -> None:
    fresh = service("pip").copy(tmp_path / "service")
    fresh.run(str(fresh.python), "-m", "venv", ".venv")
    programs = fresh.path / ".venv/bin"
    done = fresh.run(
        *(str(programs / "pip"), "install", "--quiet", "-r", "requirements/base.txt"),
        seconds=300,
    )
    check = fresh.run(str(programs / "python"), "manage.py", "check", env={"PYTHONPATH": ""})

    assert done.returncode == 0
    assert "no issues" in check.stdout


def test_collect_static_files_without_a_secret_or_a_server(
    service: GetService, tmp_path: Path
) -> None:
    copy = service().copy(tmp_path / "service")
    shutil.rmtree(copy.path / "staticfiles", ignore_errors=True)
    settings = f"{copy.package}.settings.production"
    command = "python manage.py collectstatic --noinput"

    done = copy.run(*command.split(), f"--settings={settings}")

    assert re.search(r"\d+ static files copied", done.stdout)
    assert (copy.path / "staticfiles/staticfiles.json").is_file()


@pytest.mark.parametrize("variant", ["default", "pip", "no-tasks"])
def test_run_deployment_checks(service: GetService, variant: str) -> None:
    env = {
        "DJANGO_SETTINGS_MODULE": f"{service(variant).package}.settings.production",
        "DEBUG": "0",
        "ALLOWED_HOSTS": "yourdomain.com",
        "CSRF_TRUSTED_ORIGINS": "https://yourdomain.com",
        "SECRET_KEY": SEED_ENVIRONMENT["SECRET_KEY"],
        **NOWHERE,
    }

    done = service(variant).run("python", "manage.py", "check", "--deploy", env=env)

    # Silenced: includeSubDomains and preload, which are a choice.
    assert done.stdout == "System check identified no issues (2 silenced).\n"
    assert done.stderr == ""


def test_update_dockerfile(render: Render) -> None:
    for variant in ("default", "pip"):
        dockerfile = (render(**VARIANTS[variant]) / "Dockerfile").read_text(encoding="utf-8")
        builder, _, runtime = dockerfile.partition(" AS runtime")

        assert re.search(r"apt-get install .*\bgcc\b.*\blibpq-dev\b", builder)
        assert re.search(r"apt-get install .*\blibpq5\b", runtime)
        assert not re.search(r"apt-get install .*\b(gcc|libpq-dev)\b", runtime)
        collect = re.search(r"RUN (?:.*\\\n)*.*collectstatic --noinput", builder)
        assert collect is not None
        assert "DJANGO_SETTINGS_MODULE=my_service.settings.production" in collect[0]


def test_configure_docker_healthcheck(
    render: Render,
    service: GetService,
    postgres: PostgresServer,
    redis: RedisServer,
) -> None:
    dockerfile = (render() / "Dockerfile").read_text(encoding="utf-8")
    healthcheck = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert healthcheck is not None
    command = json.loads(healthcheck[1])
    env = deployed(service(), postgres, redis)

    with service().gunicorn(env) as server:
        alive = service().run(*command, env={"PORT": str(server.port)}, check=False)
    dead = service().run(*command, env={"PORT": str(server.port)}, check=False)

    assert alive.returncode == 0
    assert dead.returncode == 1
    assert dead.stderr.startswith(f"Nothing alive on port {server.port}: ")


def test_in_staging_first(
    service: GetService, postgres: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    collect_static_files(service())
    staging = service().copy(tmp_path / "service")

    with staging.gunicorn(deployed(staging, postgres, redis)) as server:
        page = server.get("/", secure=True)
        files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
        answers = [server.get(path, secure=True).status for path in files]
        probes = [server.get(path).status for path in ("/health/", "/ready/")]
        missing = server.get("/no/such/page/", secure=True)

    assert len(files) == 2
    assert answers == [200, 200]
    assert probes == [200, 200]
    assert missing.status == 404
    assert "DEBUG" not in missing.text
