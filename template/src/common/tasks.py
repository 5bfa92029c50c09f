"""Tasks that every service has. Maintained by the template: write yours in <app>/tasks.py.

A task of yours, and how a view sends it when what it has written can be read:

    @shared_task
    def send_receipt(order_id: int) -> None: ...

    send_receipt.delay_on_commit(order.pk)

It may run twice, as when a worker dies between its work and its end: let it look whether it has
been done already. Schedule it in settings/base.py: CELERY_BEAT_SCHEDULE |= {"receipts": {...}}.
"""

from importlib import import_module

from celery import shared_task
from django.conf import settings


@shared_task
def clear_expired_sessions() -> None:
    """Delete the sessions that have run out, which nothing else does."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
