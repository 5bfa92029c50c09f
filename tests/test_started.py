"""Eight variants that differ as much as they can are installed and started, with real servers.

They are chosen from the pairwise set, so a new question is among what they differ in. Other tests
look closer at a few of them; these show that each does its whole work.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

from tests.combinations import Answers, given, name, pairs, pairwise
from tests.laboratory import deployed, sign_in
from tests.service import build_production, installed

if TYPE_CHECKING:
    from tests.combinations import Pair
    from tests.rendering import SharedFolders
    from tests.servers import PostgresServer, RabbitMQServer, RedisServer
    from tests.service import Service

# A Python that may not be there to run, so that its variants are rendered and examined alone.
NOT_EVERYWHERE = ("python_version", "3.14")

EXPIRED_SESSION = """
from django.contrib.sessions.models import Session
from django.utils import timezone
from common.tasks import clear_expired_sessions

Session.objects.create(session_key="old", session_data="", expire_date=timezone.now())
clear_expired_sessions.delay()
"""


@cache
def most_different(count: int = 8) -> list[Answers]:
    """Return the variants of the pairwise set that have the most pairs of answers between them."""
    waiting = [variant for variant in pairwise() if NOT_EVERYWHERE not in variant.items()]
    chosen: list[Answers] = []
    seen: set[Pair] = set()
    for _ in range(count):
        chosen.append(max(waiting, key=lambda variant: len(pairs(variant) - seen)))
        waiting.remove(chosen[-1])
        seen |= pairs(chosen[-1])
    return chosen


@pytest.fixture(scope="module", params=most_different(), ids=name)
def started(request: pytest.FixtureRequest, shared: SharedFolders) -> Service:
    """Return a variant that is installed as an image is, its static files collected."""
    tree = shared.render(**given(request.param))
    number = most_different().index(request.param)
    build = partial(build_production, shared, tree, add=())
    service = installed(shared.get(f"started-{number}", build))
    service.manage("collectstatic", "--noinput", "--verbosity", "0")
    return service


def test_a_variant_does_its_whole_work(
    started: Service,
    postgres: PostgresServer,
    redis: RedisServer,
    rabbitmq: RabbitMQServer,
) -> None:
    answers = started.answers
    carried = answers.get("broker") == "rabbitmq"
    broker = {"CELERY_BROKER_URL": rabbitmq.new_vhost()} if carried else {}
    env = deployed(started, postgres, redis, **broker)
    started.manage("check", "--deploy", "--fail-level", "WARNING", env=env)
    started.manage("migrate", "--check", env=env)
    person = {"username": "ann", "email": "ann@example.com"}
    superuser = {f"DJANGO_SUPERUSER_{key.upper()}": value for key, value in person.items()}
    superuser["DJANGO_SUPERUSER_PASSWORD"] = "correct horse battery staple"
    started.manage("createsuperuser", "--noinput", env={**env, **superuser})

    with started.gunicorn(env) as web:
        health = web.get("/health/").json()
        assert (health["status"], health["service"]) == ("healthy", answers["project_slug"])
        assert web.get("/ready/").json()["checks"] == {"database": True, "cache": True}
        assert web.get("/", secure=True).status == 200
        password = superuser["DJANGO_SUPERUSER_PASSWORD"]
        signed_in = sign_in(web, credentials=(person[answers["user_identifier"]], password))
        assert (signed_in.status, signed_in.headers["Location"]) == (302, "/accounts/profile/")
    if answers["task_queue"] == "celery":
        statement = "select count(*) from django_session where session_key = 'old'"
        with started.celery_worker(env) as worker:
            started.manage("shell", "--command", EXPIRED_SESSION, env=env)
            worker.wait_until(
                lambda: postgres.execute(statement, url=env["DATABASE_URL"]) == [(0,)],
                "the expired session was gone",
            )
