"""A project's `langgraph.json`: read, checked, and told what of it means nothing here. Nothing is imported yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from unbroken.domain.errors import InvalidValue

NAME: Final = "langgraph.json"
MAX_BYTES: Final = 1 << 20
SCRIPTS: Final = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx")


class GraphEntry(Struct, frozen=True):
    path: str
    """`file.py:variable` or `module:variable`."""
    description: str | None = None


class IndexEntry(Struct, frozen=True):
    """How items of the long-term store are found by meaning."""

    embed: str
    """`provider:model`, or `file.py:function` that takes texts and gives vectors."""
    dims: int
    fields: tuple[str, ...] = ("$",)
    """Which parts of an item's value are embedded, each by itself; `$`: all of it."""


class StoreTtl(Struct, frozen=True):
    """Minutes."""

    refresh_on_read: bool = True
    default_ttl: float | None = None
    sweep_interval_minutes: float | None = None


class StoreEntry(Struct, frozen=True):
    index: IndexEntry | None = None
    ttl: StoreTtl | None = None


class ThreadTtl(Struct, frozen=True):
    """Minutes; how often is looked follows from how long they are kept."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    """`keep_latest` removes nothing here: superseded checkpoints go by themselves."""
    default_ttl: float | None = None
    sweep_interval_minutes: float | None = None
    sweep_limit: int | None = None


class CheckpointerEntry(Struct, frozen=True):
    ttl: ThreadTtl | None = None


class AuthEntry(Struct, frozen=True):
    path: str | None = None


class Cors(Struct, frozen=True):
    """As the fields of the same names of a Starlette `CORSMiddleware`."""

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ("GET",)
    allow_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: tuple[str, ...] = ()
    max_age: int = 600


class HttpEntry(Struct, frozen=True):
    app: str | None = None
    cors: Cors | None = None


class Entries(Struct, frozen=True):
    """What of the file counts here."""

    graphs: dict[str, str | GraphEntry]
    dependencies: tuple[str, ...] = ()
    env: str | dict[str, str | int | float | bool] | None = None
    store: StoreEntry | None = None
    checkpointer: CheckpointerEntry | None = None
    auth: AuthEntry | None = None
    http: HttpEntry | None = None


class Project(Struct, frozen=True):
    file: Path
    """Absolute."""
    entries: Entries
    ignored: tuple[str, ...] = ()
    """Keys of the file that mean nothing here, as `http.disable_mcp`."""

    @property
    def root(self) -> Path:
        """Where the paths in it begin."""
        return self.file.parent

    def graphs(self) -> dict[str, GraphEntry]:
        """Name → where it is, in the file's order."""
        given = self.entries.graphs
        return {name: GraphEntry(one) if isinstance(one, str) else one for name, one in given.items()}

    @property
    def keeps_threads_min(self) -> float | None:
        """Minutes after which a silent thread is deleted; None: it is kept."""
        checkpointer = self.entries.checkpointer
        ttl = checkpointer.ttl if checkpointer is not None else None
        return ttl.default_ttl if ttl is not None and ttl.strategy == "delete" else None

    def key(self, name: str) -> str:
        """How errors name a key of it."""
        return f"{self.file.name}: {name}"


def read_project(file: Path) -> Project:
    """Raises InvalidValue, in one line that names the file, the key and what is expected there."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidValue(str(file), f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InvalidValue(str(file), f"has {len(data)} bytes; at most {MAX_BYTES} are read")
    return parse_project(data, file.resolve())


def parse_project(data: bytes, file: Path) -> Project:
    """Raises InvalidValue, as `read_project` does."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidValue(file.name, f"is not JSON: {error}") from None
    try:
        entries = msgspec.convert(found, Entries)
    except msgspec.ValidationError as error:
        raise _misfit(file, str(error)) from None
    project = Project(file, entries, tuple(_ignored(found, msgspec.to_builtins(entries))))
    _check(project)
    return project


def _check(project: Project) -> None:
    if not project.entries.graphs:
        raise InvalidValue(project.key("graphs"), "names no graph; expected {name: 'file.py:variable'}")
    for name, entry in project.graphs().items():
        where, colon, variable = entry.path.rpartition(":")
        if where.endswith(SCRIPTS):
            raise InvalidValue(project.key(f"graphs.{name}"), f"{entry.path} is JavaScript; graphs here are Python")
        if not colon or not where or not variable:
            expected = "expected 'file.py:variable' or 'module:variable'"
            raise InvalidValue(project.key(f"graphs.{name}"), f"{entry.path!r} names no variable; {expected}")
    cors = project.entries.http.cors if project.entries.http is not None else None
    if cors is not None and cors.allow_origin_regex is not None:
        try:
            re.compile(cors.allow_origin_regex)
        except re.error as error:
            raise InvalidValue(project.key("http.cors.allow_origin_regex"), f"is no pattern: {error}") from None
    store, checkpointer = project.entries.store, project.entries.checkpointer
    if store is not None and store.index is not None and not 1 <= store.index.dims <= 16_000:
        raise InvalidValue(project.key("store.index.dims"), f"is {store.index.dims}; 1 to 16000 can be stored")
    minutes = {
        "store.ttl.default_ttl": store.ttl.default_ttl if store and store.ttl else None,
        "store.ttl.sweep_interval_minutes": store.ttl.sweep_interval_minutes if store and store.ttl else None,
        "checkpointer.ttl.default_ttl": checkpointer.ttl.default_ttl if checkpointer and checkpointer.ttl else None,
    }
    for key, value in minutes.items():
        if value is not None and value <= 0:
            raise InvalidValue(project.key(key), f"is {value:g}; a number of minutes above 0 is needed")


def _misfit(file: Path, message: str) -> InvalidValue:
    """msgspec's `Expected `int`, got `str` - at `$.store.index.dims``, with the key in front."""
    what, _, where = message.replace("`", "").partition(" - at ")
    key = re.sub(r"\[(\d+)\]", r".\1", where.removeprefix("$").removeprefix(".").replace("[...]", ".*"))
    return InvalidValue(f"{file.name}: {key}" if key else file.name, what[:1].lower() + what[1:])


def _ignored(found: Any, known: Any, above: str = "") -> list[str]:
    """The keys of `found` that `known`, what was made of it, does not have; those of users' own mappings all count."""
    if not isinstance(found, dict) or not isinstance(known, dict):
        return []
    names = []
    for key, value in found.items():
        if key not in known:
            names.append(f"{above}{key}")
        elif above == "" and key in ("graphs", "env"):
            continue
        else:
            names.extend(_ignored(value, known[key], f"{above}{key}."))
    return [name for name in names if name != "$schema"]
