"""psycopg2 in gevent's loop. Maintained by the template."""

from gevent.socket import wait_read, wait_write
from psycopg2 import OperationalError, extensions


def make_psycopg2_cooperative() -> None:
    """Let other requests run while psycopg2 waits, which in C would stop the whole worker.

    https://www.psycopg.org/docs/advanced.html#support-for-coroutine-libraries
    """
    extensions.set_wait_callback(_wait)


def _wait(connection: extensions.connection) -> None:
    while (state := connection.poll()) != extensions.POLL_OK:
        if state == extensions.POLL_READ:
            wait_read(connection.fileno())
        elif state == extensions.POLL_WRITE:
            wait_write(connection.fileno())
        else:
            raise OperationalError(f"Unexpected state of the connection: {state}.")
