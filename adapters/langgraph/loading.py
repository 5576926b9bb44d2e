"""The agents served here: from `NAME=file.py:variable` or `NAME=module:variable`, a project's, or the bundled one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from langgraph.store.base import BaseStore
from msgspec import Struct

from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.containment import left_behind
from unbroken.adapters.langgraph.graph_source import FixedGraph, GraphSource, source_of
from unbroken.adapters.langgraph.importing import FORMS, variable
from unbroken.adapters.langgraph.recent_heads import MAX_BYTES, RecentHeads
from unbroken.domain.errors import InvalidValue, UnknownAgent
from unbroken.domain.policy import CommitMode
from unbroken.domain.ports.agent import Agent, Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.files import Files
from unbroken.domain.ports.runs import Runs

BUNDLED = "assistant"
"""The bundled agent's name, scripted or with a model: so threads go on when a model is plugged in."""

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class NamedGraph(Struct, frozen=True):
    name: str
    source: str
    """What a person would look for: `file.py:variable`, or what is bundled."""
    graph: GraphSource
    description: str | None = None


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
    memory: BaseStore | None = None,
    whole_history: bool = False,
    runs: Runs | None = None,
) -> LangGraphAgents:
    """`exceptions`: the commit mode of single agents, by name. `head_cache_bytes`: for all agents together. `memory`:
    the long-term one that their nodes find. Raises InvalidValue for a name that is not served."""
    modes = dict(exceptions or {})
    heads = RecentHeads(head_cache_bytes)
    agents = {
        named.name: LangGraphAgent(
            named.graph if memory is None else named.graph.with_store(memory),
            checkpoints,
            commit=modes.pop(named.name, commit),
            files=files,
            heads=heads,
            whole_history=whole_history,
            runs=runs,
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
    return with_bundled([_named(spec) for spec in specs], model, model_base_url)


def with_bundled(graphs: Sequence[NamedGraph], model: str | None, model_base_url: str | None) -> list[NamedGraph]:
    """And the bundled agent, on `model`, or where there would be none. Raises InvalidValue for a name given twice."""
    all_ = [*graphs, *([_bundled(model, model_base_url)] if model or not graphs else [])]
    names = [named.name for named in all_]
    for name in names:
        if names.count(name) > 1:
            raise InvalidValue(f"agent {name}", "is given twice")
    return all_


def named_graph(name: str, source: str, *, root: Path | None = None, description: str | None = None) -> NamedGraph:
    """`source`: `file.py:variable` or `module:variable`, looked for in `root`. Raises InvalidValue."""
    if not _NAME.fullmatch(name):
        raise InvalidValue("agent", f"{name!r} is not a name: 1 to 128 of A-Z a-z 0-9 _ - .")
    label = f"agent {name}"
    return NamedGraph(name, source, source_of(label, source, variable(label, source, root)), description)


def _bundled(model: str | None, base_url: str | None) -> NamedGraph:
    # Imported here: a provider's package takes a second, and is needed by nobody else.
    if model:
        from unbroken.adapters.langgraph.model_agent import model_graph  # noqa: PLC0415

        return NamedGraph(BUNDLED, f"the model {model}", FixedGraph(model_graph(model, base_url)))
    from unbroken.adapters.langgraph.demo_agent import demo_graph  # noqa: PLC0415

    return NamedGraph(BUNDLED, "the scripted demo", FixedGraph(demo_graph()))


def _named(spec: str) -> NamedGraph:
    name, equals, source = spec.partition("=")
    if not equals or ":" not in source.strip(":"):
        raise InvalidValue("agent", f"{spec!r} is neither {' nor '.join(f'NAME={form}' for form in FORMS)}")
    return named_graph(name, source)
