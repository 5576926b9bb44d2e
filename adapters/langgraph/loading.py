"""From `NAME=file.py:variable` or `NAME=module:variable` to the agents served here.

A file is imported under the name it would have in its own project: its directory (for a file inside a package,
the package's parent) goes to the front of `sys.path`. So its neighbours import, also when they are called
`domain` or `application`, and classes in its state keep the names that stored checkpoints know them by.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from langgraph.graph.state import CompiledStateGraph, StateGraph
from msgspec import Struct

from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.containment import left_behind
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.recent_heads import MAX_BYTES, RecentHeads
from unbroken.domain.errors import InvalidValue, UnknownAgent
from unbroken.domain.policy import CommitMode
from unbroken.domain.ports.agent import Agent, Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.files import Files

BUNDLED = "assistant"
"""The bundled agent's name, scripted or with a model: so threads go on when a model is plugged in."""

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class NamedGraph(Struct, frozen=True):
    name: str
    source: str
    """What a person would look for: `file.py:variable`, or what is bundled."""
    graph: Graph


class LangGraphAgents(Agents):
    def __init__(self, agents: Mapping[str, LangGraphAgent]) -> None:
        self._agents = dict(agents)

    def get(self, agent_id: str) -> Agent:
        if agent_id not in self._agents:
            raise UnknownAgent(agent_id)
        return self._agents[agent_id]

    def names(self) -> Sequence[str]:
        return list(self._agents)

    @property
    def left_behind(self) -> int:
        return left_behind()


def load_agents(
    graphs: Sequence[NamedGraph],
    checkpoints: Checkpoints,
    *,
    commit: CommitMode,
    exceptions: Mapping[str, CommitMode] | None = None,
    files: Files | None = None,
    head_cache_bytes: int = MAX_BYTES,
) -> LangGraphAgents:
    """`exceptions`: the commit mode of single agents, by name. `head_cache_bytes`: for all agents together. Raises
    InvalidValue for a name that is not served."""
    modes = dict(exceptions or {})
    heads = RecentHeads(head_cache_bytes)
    agents = {
        named.name: LangGraphAgent(
            named.graph, checkpoints, commit=modes.pop(named.name, commit), files=files, heads=heads
        )
        for named in graphs
    }
    for name in modes:
        raise InvalidValue(f"agent {name}", f"has a commit mode, but is not served; served are {', '.join(agents)}")
    return LangGraphAgents(agents)


def load_graphs(
    specs: Sequence[str], *, model: str | None = None, model_base_url: str | None = None
) -> list[NamedGraph]:
    """The default agent first. Without `specs`: the bundled agent, on `model` if there is one.

    Raises InvalidValue, whose message is one line that names the agent and what is wrong with it.
    """
    graphs = [_named(spec) for spec in specs]
    if model or not graphs:
        graphs.append(_bundled(model, model_base_url))
    names = [named.name for named in graphs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidValue(f"agent {name}", "is given twice")
    return graphs


def _bundled(model: str | None, base_url: str | None) -> NamedGraph:
    # Imported here: a provider's package takes a second, and is needed by nobody else.
    if model:
        from unbroken.adapters.langgraph.model_agent import model_graph  # noqa: PLC0415

        return NamedGraph(BUNDLED, f"the model {model}", model_graph(model, base_url))
    from unbroken.adapters.langgraph.demo_agent import demo_graph  # noqa: PLC0415

    return NamedGraph(BUNDLED, "the scripted demo", demo_graph())


def _named(spec: str) -> NamedGraph:
    name, equals, source = spec.partition("=")
    where, colon, variable = source.rpartition(":")
    if not equals or not colon or not where or not variable:
        raise InvalidValue("agent", f"{spec!r} is neither NAME=file.py:variable nor NAME=module:variable")
    if not _NAME.fullmatch(name):
        raise InvalidValue("agent", f"{name!r} is not a name: 1 to 128 of A-Z a-z 0-9 _ - .")
    label = f"agent {name}"
    module = _imported(label, where)
    if not hasattr(module, variable):
        raise InvalidValue(label, f"{where} has no variable {variable!r}")
    return NamedGraph(name, source, _graph(label, source, getattr(module, variable)))


def _graph(label: str, source: str, found: Any) -> Graph:
    if isinstance(found, StateGraph):
        try:
            found = found.compile()
        except Exception as error:
            raise InvalidValue(label, f"{source} does not compile: {_last_line(error)}") from error
    if not isinstance(found, CompiledStateGraph):
        kind = type(found).__name__
        raise InvalidValue(label, f"{source} is a {kind}, not a LangGraph graph (StateGraph, or what it compiles to)")
    if "messages" not in found.builder.schemas.get(found.builder.input_schema, found.channels):
        raise InvalidValue(label, f"{source} has no `messages` in its state, so it cannot be talked to")
    return found


def _imported(label: str, where: str) -> ModuleType:
    """`where`: a file's path if it ends in .py or has a directory in it, else a module's dotted name."""
    is_file = where.endswith(".py") or "/" in where
    if is_file and not Path(where).is_file():
        raise InvalidValue(label, f"the file {where} does not exist")
    try:
        return _import_file(Path(where).resolve(), label) if is_file else _import_module(where)
    except (Exception, SystemExit) as error:
        raise InvalidValue(label, f"{where} does not import: {_last_line(error)}") from error


def _import_module(name: str) -> ModuleType:
    _search_first(Path.cwd())
    return importlib.import_module(name)


def _import_file(path: Path, label: str) -> ModuleType:
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        root, parts = root.parent, [root.name, *parts]
    _search_first(root)
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


def _search_first(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _last_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    lines = [line for line in "".join(traceback.format_exception_only(error)).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
