# Safety of migrations. Maintained by the template: list exceptions in settings/test.py instead.
"""Find migrations that the code of the release before would not survive, or that fork.

    .venv/bin/python scripts/migration_safety.py

A release is rolled out while the former one still serves requests, and may be rolled back. So what
a migration removes, renames or requires must not be used by the release before. The SQL of each
migration is looked at by https://github.com/3YOURMIND/django-migration-linter, for which
DATABASE_URL names a PostgreSQL; nothing is written to it. A step that is meant, such as removing a
column that the last release has stopped using, is listed in settings/test.py:

    MIGRATION_LINTER_OPTIONS = {"ignore_name": ["0007_remove_order_total"]}
"""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import django
from django.apps import apps
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django_migration_linter.management.commands.lintmigrations import Command
from django_migration_linter.sql_analyser import PostgresqlAnalyser, analyser
from django_migration_linter.sql_analyser.base import BaseAnalyser, Check, CheckMode, CheckType

SOURCE = Path(__file__).resolve().parent.parent / "src"

# What is said of a step, by the linter's code for it.
REASONS = {
    "DROP_TABLE": "The release before may use this table: drop it a release after the code did.",
    "DROP_COLUMN": "The release before may use this column: drop it a release after the code did.",
    "RENAME_TABLE": "The release before knows the old name alone: keep it, by Meta.db_table.",
    "RENAME_COLUMN": "The release before knows the old name alone: keep it, by db_column.",
    "NOT_NULL": "The release before writes no value here: give it db_default, or allow null.",
    "ALTER_COLUMN": "The release before may not bear another type: look whether it does.",
    "ADD_UNIQUE": "The release before may write a value twice: see to it that it does not.",
    "ADD_CHECK": "The release before may write what this refuses: see to it that it does not.",
}


def adds_check(statements: list[str], **_: object) -> bool:
    """Tell whether a table that was there before gets a constraint."""
    tables = re.findall(r"ALTER TABLE (\S+) ADD CONSTRAINT .* CHECK", "\n".join(statements))
    made = re.findall(r"(?m)^CREATE TABLE (\S+)", "\n".join(statements))
    return not set(tables) <= set(made)


class Analyser(PostgresqlAnalyser):
    """The linter's, with a reason for each step, and for SQL as people write it, too."""

    migration_checks = [  # noqa: RUF012  as the linter has it
        *PostgresqlAnalyser.migration_checks,
        *(
            replace(check, message=REASONS[check.code])
            for check in BaseAnalyser.base_migration_checks
        ),
        Check(
            "ADD_CHECK", adds_check, REASONS["ADD_CHECK"], CheckMode.TRANSACTION, CheckType.ERROR
        ),
    ]

    def analyse(self, sql_statements: list[str]) -> None:
        """Look at one statement at a time, on one line, in capital letters but for quoted names."""
        single = [part for statement in sql_statements for part in statement.split(";")]
        lines = [" ".join(part.split()) for part in single]
        super().analyse([re.sub(r'"[^"]*"|[^"]+', capitals, line) for line in lines if line])


def capitals(part: re.Match[str]) -> str:
    """Return a part of a statement in capital letters, unless it is a name in quotes."""
    return part[0] if part[0].startswith('"') else part[0].upper()


def main() -> int:
    """Say what is wrong, and return the exit code."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "{@ package_name @}.settings.test"
    django.setup()
    ours = [app.label for app in apps.get_app_configs() if Path(app.path).is_relative_to(SOURCE)]
    forks = forked(ours)
    print("\n".join(forks), end="\n" if forks else "")
    # Ends the process with exit code 1 when it finds something.
    analyser.ANALYSER_STRING_MAPPING["releases"] = Analyser
    options = {"no_cache": True, "verbosity": 1, "sql_analyser": "releases"}
    call_command(Command(), include_apps=ours, **options)
    return 1 if forks else 0


def forked(labels: list[str]) -> list[str]:
    """Return a sentence for each app with two last migrations: git saw no conflict."""
    found = MigrationLoader(None).detect_conflicts()
    return [
        f"{label}: {' and '.join(sorted(names))} are both last: make one depend on the other, or"
        " `python manage.py makemigrations --merge`."
        for label, names in sorted(found.items())
        if label in labels
    ]


if __name__ == "__main__":
    sys.exit(main())
