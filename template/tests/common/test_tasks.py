"""The tasks that every service has, and the schedule. Maintained by the template."""

from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from common.tasks import clear_expired_sessions


@pytest.mark.django_db
def test_expired_sessions_are_deleted_and_others_kept() -> None:
    expired, current = SessionStore(), SessionStore()
    expired.save()
    current.save()
    yesterday = timezone.now() - timedelta(days=1)
    Session.objects.filter(pk=expired.session_key).update(expire_date=yesterday)

    clear_expired_sessions.delay()

    assert list(Session.objects.values_list("pk", flat=True)) == [current.session_key]


def test_every_scheduled_task_exists() -> None:
    current_app.autodiscover_tasks(force=True)

    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert scheduled <= set(current_app.tasks)
