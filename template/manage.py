#!/usr/bin/env python
"""Django's commands for this service. Maintained by the template."""

import os
import sys


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from django.core.management import execute_from_command_line

        from common.environment import configuration_errors_end_the_process
    except ImportError as error:
        sys.exit(f"{error}: run `make setup` first, or activate the environment that it made.")
    os.environ.setdefault(
        "DJANGO_SETTINGS_MODULE",
        "{@ package_name @}.settings.development",
    )
    with configuration_errors_end_the_process():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
