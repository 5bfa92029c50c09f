"""Print the table of docs/configuration.md for the installed project in the current folder.

Run by that project's Python: `python configuration_table.py`, in its folder.
"""

import importlib
import runpy
from pathlib import Path

from common.environment import Variable


def rows(variables: list[Variable]) -> list[str]:
    """Return a line of Markdown for each variable."""
    return [
        f"| `{variable.name}` | {variable.kind} | {shown(variable)} | {variable.meaning} |"
        for variable in variables
    ]


def shown(variable: Variable) -> str:
    """Return the column of the default, which says where a variable is required."""
    if variable.required:
        return "required in production"
    return f"`{variable.default}`" if variable.default else ""


def main() -> None:
    """Print the rows of the settings, then those of gunicorn.conf.py."""
    package = next(Path("src").glob("*/settings")).parent.name
    settings = importlib.import_module(f"{package}.settings.defaults.environment")
    gunicorn = runpy.run_path("gunicorn.conf.py")
    print(*rows(settings.env.variables), sep="\n")
    print(*rows(gunicorn["env"].variables), sep="\n")


if __name__ == "__main__":
    main()
