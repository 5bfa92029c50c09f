"""What is done once for each release, before its code serves. Maintained by the template.

    python manage.py release

It connects straight to the server, not through PgBouncer: the lock belongs to a connection.
"""

import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

# The number that releases of this database meet at; any other would do.
LOCK = 7_355_608


class Command(BaseCommand):
    """Check the settings, then migrate, one release at a time."""

    help = "Check the settings, then migrate, one release at a time; limit the role's statements."
    requires_system_checks = ()  # they come with the rest below

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; a check that fails, even with a warning, leaves the database as it is."""
        call_command("check", deploy=True, fail_level="WARNING", databases=["default"])
        if connection.vendor != "postgresql":
            call_command("migrate", interactive=False)
            return
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            (timeout,) = cursor.fetchone()
            # A migration may take longer than a request.
            cursor.execute("SET statement_timeout = 0")
            # Asked for again and again: a statement that waits for the lock would hold a snapshot,
            # for whose end CREATE INDEX CONCURRENTLY would wait, and so for ever.
            while not self.locked():
                self.stdout.write("Another release migrates: waiting for its end.")
                self.stdout.flush()
                time.sleep(1)
            call_command("migrate", interactive=False)
            # Whoever comes through PgBouncer cannot set it for a connection.
            cursor.execute(f"ALTER ROLE CURRENT_USER SET statement_timeout = '{timeout}'")

    def locked(self) -> bool:
        """Tell whether this release has the lock; it is given back with the connection."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            return bool(cursor.fetchone()[0])
