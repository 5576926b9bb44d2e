"""What a project's code finds around it: variables, its own folders to import from, and the packages it asks for.

Nothing is installed. What is missing is told, with the command that installs it; whether the graphs need it shows when
they are imported.
"""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from packaging.requirements import InvalidRequirement, Requirement

from unbroken.adapters.langgraph.importing import search_first
from unbroken.adapters.langgraph.project import Project
from unbroken.domain.errors import InvalidValue

INSTALLABLE: Final = ("pyproject.toml", "setup.py")
LISTED: Final = "requirements.txt"


def set_variables(project: Project, environment: MutableMapping[str, str] = os.environ) -> Sequence[str]:
    """Variables of the project's `env`; those that are set stand. Returns lines to tell: what is not as it says.

    Raises InvalidValue for a file that is no text, and for what no environment can hold; nothing is set then."""
    given = project.entries.env
    if given is None:
        return []
    values: Mapping[str, str | None]
    if isinstance(given, str):
        file = project.root / given
        if not file.is_file():
            return [f"{project.key('env')}: the file {given} does not exist; going on without it"]
        values = _read(project, file)
    else:
        values = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    set_ = {name: text for name, text in values.items() if text is not None}
    for name, text in set_.items():
        _check(project, name, text)
    for name, text in set_.items():
        environment.setdefault(name, text)
    return []


def _read(project: Project, file: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(file)
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        told = f"{file.name} is not UTF-8: line {line} has the byte 0x{error.object[error.start]:02x}; save it as UTF-8"
        raise InvalidValue(project.key("env"), told) from None
    except OSError as error:
        raise InvalidValue(project.key("env"), f"{file.name} cannot be read: {error.strerror}") from None


def _check(project: Project, name: str, text: str) -> None:
    """Raises InvalidValue."""
    if not name or "=" in name or "\0" in name:
        expected = "expected at least one character, and neither '=' nor a NUL"
        raise InvalidValue(project.key("env"), f"{name!r} cannot be a variable's name; {expected}")
    if "\0" in text:
        raise InvalidValue(project.key(f"env.{name}"), "holds a NUL (U+0000), which no variable can")
    for what, told in (("name", name), ("value", text)):
        try:
            os.fsencode(told)
        except UnicodeEncodeError:
            message = f"the {what} of {name!a} has a character that {sys.getfilesystemencoding()} cannot write"
            raise InvalidValue(project.key("env"), message) from None


def make_importable(project: Project) -> Sequence[str]:
    """The project's own folders are looked through first. Returns lines to tell: what it asks for and is not here.

    Raises InvalidValue for a folder that does not exist."""
    missing: list[str] = []
    sources: list[str] = []
    for dependency in reversed(project.entries.dependencies):
        if not dependency.startswith("."):
            lacks = _lacking([dependency])
            missing += lacks
            sources += [dependency] if lacks else []
            continue
        folder = (project.root / dependency).resolve()
        if not folder.is_dir():
            raise InvalidValue(project.key("dependencies"), f"the folder {dependency} does not exist")
        for place in _roots(folder):
            search_first(place)
        lacks = _lacking(_asked_in(folder))
        missing += lacks
        sources += _installed_by(folder) if lacks else []
    if not missing:
        return []
    command = shlex.join([sys.executable, "-m", "pip", "install", *sources])
    return [f"{project.key('dependencies')}: not here: {', '.join(sorted(set(missing)))}; to install them: {command}"]


def _roots(folder: Path) -> Iterable[Path]:
    """Where its modules would be found if it were installed; the last one is to come first."""
    source = folder / "src"
    return (source, folder) if source.is_dir() and not (source / "__init__.py").exists() else (folder,)


def _installed_by(folder: Path) -> list[str]:
    if any((folder / name).is_file() for name in INSTALLABLE):
        return ["-e", str(folder)]
    return ["-r", str(folder / LISTED)]


def _asked_in(folder: Path) -> Sequence[str]:
    try:
        described = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        return [one for one in described.get("project", {}).get("dependencies", []) if isinstance(one, str)]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, AttributeError):
        return []  # whoever installs it is told
    try:
        lines = (folder / LISTED).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return [
        line.partition(" #")[0].strip() for line in lines if line.strip() and not line.lstrip().startswith(("#", "-"))
    ]


def _lacking(asked: Iterable[str]) -> list[str]:
    lacks = []
    for one in asked:
        try:
            requirement = Requirement(one)
        except InvalidRequirement:
            continue  # an address, or something that only an installer reads
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            here = version(requirement.name)
        except PackageNotFoundError:
            lacks.append(f"{requirement.name}{requirement.specifier}")
            continue
        if not requirement.specifier.contains(here, prereleases=True):
            lacks.append(f"{requirement.name}{requirement.specifier} (here is {here})")
    return lacks
