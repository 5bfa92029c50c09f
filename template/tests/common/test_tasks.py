"""The tasks that every service has, and the schedule. Maintained by the template."""

from datetime import timedelta

import pytest
from celery import current_app
from django.apps import apps
from django.utils import timezone
from pytest_django import Settings

from common.tasks import clear_expired_sessions


@pytest.mark.skipif(
    not apps.is_installed("django.contrib.sessions"), reason="this service has no sessions"
)
@pytest.mark.django_db
def test_expired_sessions_are_deleted_and_others_kept(settings: Settings) -> None:
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session

    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    expired, current = SessionStore(), SessionStore()
    expired.save()
    current.save()
    yesterday = timezone.now() - timedelta(days=1)
    Session.objects.filter(pk=expired.session_key).update(expire_date=yesterday)

    clear_expired_sessions()

    assert list(Session.objects.values_list("pk", flat=True)) == [current.session_key]


def test_every_scheduled_task_exists(settings: Settings) -> None:
    current_app.autodiscover_tasks(force=True)

    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert scheduled <= set(current_app.tasks)
