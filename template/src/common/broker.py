"""Whether the broker of the task queue answers. Maintained by the template."""

from celery import current_app


def check_broker() -> None:
    """Connect anew and open a channel; raise an error when the broker fails to answer.

    For READINESS_CHECKS: a connection that was kept may belong to a server that is gone.
    """
    with current_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=0)
        connection.channel()
