"""Keep the pins of the template equal wherever they stand, and as new as they can be.

    python hooks/versions.py check      what differs between the files; asks nobody
    python hooks/versions.py refresh    raise the floors to what the package index has, everywhere,
                                        and tell what is held back, and by what

Pins stand in the natural files of template/ and in the repository's own pyproject.toml, where bots
read them, too. A floor moves in as many numbers as it is written with: >=5.7 stays while 5.7.x
comes out. What is held back stays as it is, until somebody raises the limit by hand. Images and
actions are no matter of a package index: Renovate or Dependabot proposes them, and what it has
raised in one place `refresh` raises in the others.

Needs git and uv on PATH, and the packages of `make setup`. Ends with exit code 1 when pins differ.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import jinja2.meta
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = "template/requirements"

# How a pin is written: `celery[redis]>=5.7,<6`, alone in its line or in quotes.
PACKAGE = re.compile(
    r"""(?mx) (?: ^ | " ) (?P<name> \w[\w.-]* ) (?: \[ [\w,-]+ \] )?
        (?P<value> (?: [<>~!=]= | [<>] ) [^"\s]+ )"""
)
# `FROM debian:13`, `ARG X_IMAGE=debian:13`, `image: "debian:13"`, `image: "${X_IMAGE:-debian:13}"`,
# and as GitLab has it `name: "debian:13"`.
IMAGE = re.compile(
    r"""(?mx) ^ \s* (?: FROM \s+ | ARG \s+ \w*IMAGE= | (?: - \s+ )? (?: image | name ): \s* )
        ["']? (?: \$\{ \w+ :?- )?
        (?P<name> [a-z0-9][a-z0-9./_-]* ) : (?P<value> (?: \{@ .*? @\} | [\w.@:-] )+ )"""
)
# `uses: actions/checkout@<commit> # v7.0.1`
ACTION = re.compile(r"""(?m)uses:\s+["']?(?P<name>[\w-]+/[\w-]+)[\w/-]*@(?P<value>[^\s"']+.*)$""")
# `UV_VERSION: "0.13.9"`, `UV_VERSION=0.13.9`
TOOL = re.compile(r"""(?m)\b(?P<name>[A-Z0-9]+)_VERSION\b\s*[:=]\s*["']?v?(?P<value>\d[\w.]*)""")
# `- repo: https://github.com/astral-sh/ruff-pre-commit`
HOOK = re.compile(r"""(?m)\brepo:\s+(?P<value>\S*?(?P<name>[\w.-]+))$""")

PACKAGE_FILES = re.compile(r"(template/)?pyproject\.toml|template/requirements/\w+\.txt")
IMAGE_FILES = re.compile(r"(.*/)?(\w+\.)?Dockerfile(\.\w+)?|.*\.ya?ml")
HOOK_FILES = re.compile(r"(.*/)?\.pre-commit-config\.yaml")
TOOL_FILES = re.compile(
    r"(.*/)?(\w+\.)?Dockerfile(\.\w+)?|.*\.(ya?ml|mk|sh)|(.*/)?Makefile|\.ci/.*"
)
UV_IMAGE = "ghcr.io/astral-sh/uv"


class VersionsError(Exception):
    """Nothing can be refreshed; the message is the sentence that says why."""


@dataclass(frozen=True)
class Pin:
    """A version of something, and where it stands."""

    file: str
    line: int
    name: str
    value: str

    @property
    def place(self) -> str:
        """Where it stands, as a person looks for it."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Context:
    """Requirements that are installed together, on one version of Python."""

    title: str
    python: str
    wanted: frozenset[str]


def main(command: str = "", *more: str) -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        if command not in {"check", "refresh"} or more:
            print("Usage: versions.py check | refresh", file=sys.stderr)
            return 2
        if command == "refresh":
            refresh()
        found = check()
    except (VersionsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


# ---- Equal everywhere ---------------------------------------------------------------------------


def check() -> list[str]:
    """Return a sentence for each thing whose pins differ."""
    # Of one version there may be several flavours: python:3.13 and python:3.13-slim-trixie.
    images = pins(IMAGE, IMAGE_FILES)
    tools = [
        *pins(TOOL, TOOL_FILES),
        *(Pin(p.file, p.line, "UV", p.value) for p in images if p.name == UV_IMAGE),
    ]
    return [
        *differing_packages(),
        *differing("image", [replace(pin, value=pin.value.partition("-")[0]) for pin in images]),
        *differing("action", pins(ACTION, IMAGE_FILES)),
        *differing("tool", tools),
        *second_pins(),
        *differing_pythons(),
    ]


def pins(pattern: re.Pattern[str], files: re.Pattern[str]) -> list[Pin]:
    """Return what a pattern finds in the files whose paths match another one."""
    return [
        Pin(name, text.count("\n", 0, match.start("name")) + 1, match["name"], match["value"])
        for name, text in texts(files).items()
        for match in pattern.finditer(text)
    ]


def texts(files: re.Pattern[str]) -> dict[str, str]:
    """Return the files that git knows, or would if they were added, by their paths."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = sorted({name for name in listed.split("\0") if files.fullmatch(name)})
    return {
        name: (ROOT / name).read_text(encoding="utf-8") for name in names if (ROOT / name).is_file()
    }


def packages() -> list[Pin]:
    """Return the requirements of the template and of the repository."""
    return [
        Pin(pin.file, pin.line, canonicalize_name(pin.name), pin.value)
        for pin in pins(PACKAGE, PACKAGE_FILES)
    ]


def differing_packages() -> list[str]:
    """Compare uv's list with pip's, and what the repository itself uses with both."""
    with_uv: dict[str, dict[str, Pin]] = defaultdict(dict)
    with_pip: dict[str, dict[str, Pin]] = defaultdict(dict)
    own: list[Pin] = []
    for pin in packages():
        if pin.file == "pyproject.toml":
            own.append(pin)
        else:
            lists = with_pip if pin.file.startswith(REQUIREMENTS) else with_uv
            lists[pin.name].setdefault(pin.value, pin)
    found = [
        f"{name}: {listed(with_uv[name])}, but {listed(with_pip[name])}. Write the same."
        for name in sorted(with_uv.keys() & with_pip.keys())
        if with_uv[name].keys() != with_pip[name].keys()
    ]
    for pin in own:
        ours = with_uv.get(pin.name) or with_pip.get(pin.name)
        if ours and pin.value not in ours:
            found.append(
                f"{pin.name}: {pin.value} at {pin.place}, but {listed(ours)}. Write the same."
            )
    return found


def listed(values: dict[str, Pin]) -> str:
    """Say which values there are, and where one stands."""
    return " and ".join(f"{value} at {pin.place}" for value, pin in sorted(values.items()))


def differing(kind: str, found: list[Pin]) -> list[str]:
    """Say of which things more than one version is pinned."""
    values: dict[str, dict[str, Pin]] = defaultdict(dict)
    for pin in found:
        values[pin.name].setdefault(" ".join(pin.value.split()), pin)
    return [
        f"The {kind} {name}: {listed(places)}. Write the same."
        for name, places in sorted(values.items())
        if len(places) > 1
    ]


def second_pins() -> list[str]:
    """Say which hooks of pre-commit bring a tool of their own, beside the project's."""
    known = {pin.name for pin in packages()}
    return [
        f"pre-commit has its own {name} at {pin.place}. Run the project's by a local hook."
        for pin in pins(HOOK, HOOK_FILES)
        for name in sorted(known & {*re.split(r"[-.]", pin.name)})
    ]


def differing_pythons() -> list[str]:
    """Compare the Pythons that projects can choose with those that the repository looks for."""
    looked_for = re.search(
        r"(?m)^PYTHON_VERSIONS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8")
    )
    here = looked_for[1].split() if looked_for else []
    if here == pythons():
        return []
    both = f"{' '.join(pythons())} in copier.yml, but {' '.join(here)} in Makefile"
    return [f"Python: {both}. Write the same, in the same order."]


def questions() -> dict[str, list[str]]:
    """Return the choices of each question of copier.yml that has some."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return {
        key: list(question["choices"].values())
        for key, question in settings.items()
        if not key.startswith("_") and "choices" in question
    }


def pythons() -> list[str]:
    """Return the Pythons that projects can choose, the default first."""
    return questions()["python_version"]


# ---- As new as can be ---------------------------------------------------------------------------


def refresh() -> None:
    """Raise the floors, and tell what has moved and what could not."""
    together = contexts()
    resolved = {context: resolve(context.wanted, context.python) for context in together}
    names = {Requirement(text).name for context in together for text in context.wanted}
    newest = resolve(frozenset(names), max(pythons(), key=Version), "--no-deps")

    moved, held = [], []
    floors = {(pin.name, pin.value) for pin in packages() if pin.value.startswith(">=")}
    for name, value in sorted(floors):
        places = [
            context
            for context in together
            if any(is_pin(text, name, value) for text in context.wanted)
        ]
        if not places:
            continue  # what builds a project is installed by nobody
        behind = min(places, key=lambda context: Version(resolved[context][name]))
        version = resolved[behind][name]
        raised = raise_floor(value, version)
        if raised != value:
            write_floor(name, value, raised)
            moved.append(f"{name}: {value} is now {raised}")
        if Version(newest[name]) > Version(version):
            held.append(
                f"{name} {version}, though {newest[name]} is out:"
                f" {reason(name, value, newest[name], behind, resolved[behind])}"
            )
    moved += [*raise_uv(newest["uv"]), *level_images()]
    if moved:
        call("uv", "lock", "--quiet", "--python", sys.executable)
    print("\n".join(["Raised:", *(f"  {line}" for line in moved or ["nothing"])]))
    print("\n".join(["Held back:", *(f"  {line}" for line in held or ["nothing"])]))
    print("Not on the package index, so proposed by the repository's bot: images, actions, npm.")


def contexts() -> list[Context]:
    """Return what has to be installable together.

    That is everything that the choices bring, for each version that one can choose, and what the
    repository itself needs. Options are taken together: what one of them holds back, all get.
    """
    files = {
        name: text for name, text in texts(PACKAGE_FILES).items() if name.startswith(REQUIREMENTS)
    }
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    options = {**settings["_envops"], "undefined": jinja2.StrictUndefined}
    engine = jinja2.Environment(**options)  # noqa: S701 (lists of packages, no page)
    used = sorted(
        {
            name
            for text in files.values()
            for name in jinja2.meta.find_undeclared_variables(engine.parse(text))
        }
    )
    templates = [engine.from_string(text) for text in files.values()]
    wanted: dict[str, set[str]] = defaultdict(set)
    for values in itertools.product(*(questions()[name] for name in used)):
        answers = dict(zip(used, values, strict=True))
        series = f"Django {answers['django_version']}"
        for template in templates:
            lines = template.render(answers).splitlines()
            wanted[series] |= {line for line in lines if re.match(r"\w", line)}
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = {*own["project"]["dependencies"], *own["dependency-groups"]["dev"], "uv>=0"}
    return [
        *(
            Context(series, python, frozenset(lines))
            for series, lines in wanted.items()
            for python in pythons()
        ),
        Context("the repository", min(pythons(), key=Version), frozenset(ours)),
    ]


def is_pin(text: str, name: str, value: str) -> bool:
    """Tell whether a requirement is this pin, with whatever extras."""
    return canonicalize_name(Requirement(text).name) == name and text.endswith(value)


def resolve(wanted: frozenset[str], python: str, *options: str) -> dict[str, str]:
    """Return the newest versions that go together."""
    return dict(re.findall(r"(?m)^([\w.-]+)==([\w.+!]+)", compile_list(wanted, python, *options)))


def compile_list(wanted: frozenset[str], python: str, *options: str) -> str:
    """Return what uv makes of a list of requirements; raise VersionsError with its reason."""
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    versions = ["--python", sys.executable, "--python-version", python]
    return call(*command, *versions, *options, "-", given="\n".join(wanted))


def reason(name: str, value: str, newest: str, context: Context, resolved: dict[str, str]) -> str:
    """Return what keeps the newest version away: our own limit, what uv says, or both.

    The others are asked for as new as they are beside today's version of this one.
    """
    reasons = []
    if not Requirement(f"{name}{value}").specifier.contains(newest):
        reasons.append(f"the limit is the template's own, {value.partition(',')[2]}")
    wanted = set()
    for text in context.wanted:
        other = canonicalize_name(Requirement(text).name)
        bare, _, _ = text.partition(">=")
        wanted.add(f"{bare}=={newest}" if other == name else f"{text},>={resolved[other]}")
    try:
        compile_list(frozenset(wanted), context.python)
    except VersionsError as error:
        reasons.append(f"for {context.title} on Python {context.python}: {error}")
    return "; ".join(reasons) or "it goes with an older version of something else alone"


def raise_floor(value: str, version: str) -> str:
    """Return a specifier with this version for its floor, in as many numbers as it has."""
    floor, comma, rest = value.removeprefix(">=").partition(",")
    numbers = Version(version).release[: len(Version(floor).release)]
    raised = ".".join(map(str, numbers))
    return f">={raised}{comma}{rest}" if Version(raised) > Version(floor) else value


def write_floor(name: str, value: str, raised: str) -> None:
    """Write a package's new specifier wherever the old one stands."""
    for file, text in texts(PACKAGE_FILES).items():

        def replaced(match: re.Match[str]) -> str:
            if canonicalize_name(match["name"]) != name or match["value"] != value:
                return match[0]
            return match[0].removesuffix(value) + raised

        write(file, text, PACKAGE.sub(replaced, text))


def raise_uv(version: str) -> list[str]:
    """Write the newest uv wherever an exact one stands: it is a package and an image."""
    moved = set()
    for pattern, files, name in (
        (IMAGE, IMAGE_FILES, UV_IMAGE),
        (TOOL, TOOL_FILES, "UV"),
    ):
        for file, text in texts(files).items():

            def replaced(match: re.Match[str], name: str = name) -> str:
                if match["name"] != name or Version(match["value"]) >= Version(version):
                    return match[0]
                moved.add(f"uv: {match['value']} is now {version}")
                return match[0].removesuffix(match["value"]) + version

            write(file, text, pattern.sub(replaced, text))
    return sorted(moved)


def level_images() -> list[str]:
    """Write the newest version of an image or an action wherever an older one stands."""
    moved = set()
    for pattern in (IMAGE, ACTION):
        newest: dict[str, str] = {}
        for pin in pins(pattern, IMAGE_FILES):
            if number(pin.value) >= number(newest.get(pin.name, "")):
                newest[pin.name] = pin.value
        for file, text in texts(IMAGE_FILES).items():

            def replaced(match: re.Match[str], newest: dict[str, str] = newest) -> str:
                name, value = match["name"], match["value"]
                if not Version("0") < number(value) < number(newest[name]):
                    return match[0]
                moved.add(f"{name}: {value} is now {newest[name]}")
                # What stands behind the version of an image is its kind, such as -alpine.
                kind = "" if "#" in value else value.removeprefix(value.partition("-")[0])
                return match[0].removesuffix(value) + newest[name].partition("-")[0] + kind

            write(file, text, pattern.sub(replaced, text))
    return sorted(moved)


def number(value: str) -> Version:
    """Return the version of an image, or of an action by its comment; 0 when it is none."""
    found = re.fullmatch(r"(?:[0-9a-f]{40}\s+# )?v?(\d+(?:\.\d+)*)(?:-.*)?", value)
    return Version(found[1] if found else "0")


def write(file: str, before: str, after: str) -> None:
    """Write a file of the repository when its text has changed."""
    if after != before:
        (ROOT / file).write_text(after, encoding="utf-8")


def call(*command: str, given: str = "") -> str:
    """Return what a command prints; raise VersionsError with its reason when it fails."""
    done = subprocess.run(
        command, cwd=ROOT, input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        # uv says why after the words that there is no solution.
        _, because, explained = done.stderr.partition("Because ")
        raise VersionsError(" ".join((because + explained or done.stderr).split()))
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
