"""A user's code, imported as in its own project: from `file.py:variable` or `module:variable` to the object.

A file is imported under the name it would have in its own project: its directory (for a file inside a package,
the package's parent) goes to the front of `sys.path`. So its neighbours import, also when they are called
`domain` or `application`, and classes in its state keep the names that stored checkpoints know them by.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from unbroken.adapters.langgraph.misfits import in_one, misfits, shortened
from unbroken.domain.errors import InvalidValue

FORMS = ("file.py:variable", "module:variable")
MAX_LINE: Final = 500
OURS: Final = "unbroken."
STANDARD: Final = sysconfig.get_path("stdlib")
INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def variable(label: str, source: str, root: Path | None = None) -> Any:
    """What `source`, a file's path or a module's name and a variable in it, stands for. `root`: where paths begin and
    modules are looked for first; None: here. `label`: what the source is for.

    Raises InvalidValue, whose message is one line that begins with `label`.
    """
    where, colon, name = source.rpartition(":")
    if not colon or not where or not name:
        raise InvalidValue(label, f"{source!r} is neither {' nor '.join(FORMS)}")
    module = _imported(label, where, root)
    if not hasattr(module, name):
        raise InvalidValue(label, f"{where} has no variable {name!r}")
    return getattr(module, name)


def search_first(directory: Path) -> None:
    """Modules are looked for there before anywhere else, if they are not looked for there already."""
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def one_line(error: BaseException, root: Path | None = None) -> str:
    """What a person needs of an exception in somebody's code: what it says, bounded, and where it was raised, as far
    as that is theirs. Paths are told from `root`, or from here."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    if (fields := misfits(error)) is not None:
        told = f"{type(error).__name__}: {fields}"
    else:
        told = in_one(traceback.format_exception_only(error)) or type(error).__name__
    place = _place(error, (root or Path()).resolve())
    return shortened(told, MAX_LINE) + (f" ({place})" if place else "")


def _place(error: BaseException, root: Path) -> str | None:
    """`file:line` of the innermost statement that is neither ours nor installed."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        ours = str(frame.f_globals.get("__name__", "")).startswith(OURS)
        installed = path.is_relative_to(STANDARD) or not INSTALLED.isdisjoint(path.parts)
        if path.is_absolute() and not ours and not installed:
            found = f"{path.relative_to(root) if path.is_relative_to(root) else path}:{line}"
    return found


def _imported(label: str, where: str, root: Path | None) -> ModuleType:
    """`where`: a file's path if it ends in .py or has a directory in it, else a module's dotted name."""
    is_file = where.endswith(".py") or "/" in where
    path = (root or Path()) / where
    if is_file and not path.is_file():
        raise InvalidValue(label, f"the file {where} does not exist")
    try:
        return _import_file(path.resolve(), label) if is_file else _import_module(where, root or Path.cwd())
    except (Exception, SystemExit) as error:
        raise InvalidValue(label, f"{where} does not import: {one_line(error, root)}") from error


def _import_module(name: str, root: Path) -> ModuleType:
    search_first(root)
    return importlib.import_module(name)


def _import_file(path: Path, label: str) -> ModuleType:
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        root, parts = root.parent, [root.name, *parts]
    search_first(root)
    name = ".".join(parts)
    if all(part.isidentifier() for part in parts):
        known = sys.modules.get(name)
        if known is None and _leads_to(name, path):
            return importlib.import_module(name)
        if known is not None and _is_of(known, path):
            return known
    return _import_aside(path, f"{label.replace(' ', '_')}_{path.stem}")


def _import_aside(path: Path, name: str) -> ModuleType:
    """For a file whose natural name is taken, or is none."""
    if name in sys.modules and _is_of(sys.modules[name], path):
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _leads_to(name: str, path: Path) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None and Path(found.origin).resolve() == path


def _is_of(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path
