"""Where an agent's graph comes from: one that is always there, or a factory that makes one whenever it is needed.

A factory takes nothing, the run's config, LangGraph's `ServerRuntime`, or both of them, and gives a graph: at once,
when awaited, or as a context manager of either kind, which is left when the run has ended.
"""

from __future__ import annotations

import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from copy import copy
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime, _ExecutionRuntime, _ReadRuntime
from msgspec import Struct

from unbroken.adapters.langgraph.containment import Exited
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.importing import one_line
from unbroken.domain.errors import AgentRaised, InvalidValue

RUNS: Final = "threads.create_run"
UPDATES: Final = "threads.update"
READS: Final = "threads.read"
DESCRIBES: Final = "assistants.read"

AUTHENTICATED: Final = "langgraph_auth_user"
"""Where a run's `configurable` holds the user that a project's own `auth` has let in."""
KINDS: Final[tuple[type, ...]] = (_ExecutionRuntime, _ReadRuntime)
NAMES: Final = {"ServerRuntime": ServerRuntime, "RunnableConfig": RunnableConfig}
"""What factories may import for type checkers alone."""


class GraphUse(Struct, frozen=True):
    """What a graph is wanted for."""

    access: AccessContext
    config: RunnableConfig
    """Of the run, or of the state that is read: with thread_id and user_id in its `configurable`."""
    context: Any = None


class GraphSource(ABC):
    """Gives a graph for as long as it is used. Every graph of one source has the same nodes and channels."""

    @property
    @abstractmethod
    def fixed(self) -> Graph | None:
        """The one graph; None: they are made."""

    @abstractmethod
    def open(self, use: GraphUse) -> AbstractAsyncContextManager[Graph]:
        """Raises whatever the user's code raises; AgentRaised if it does not give a graph."""

    @abstractmethod
    def with_store(self, store: BaseStore) -> GraphSource:
        """The same, for nodes that find `store` as their long-term memory, unless their graph brings a lasting one."""


class FixedGraph(GraphSource):
    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @property
    def fixed(self) -> Graph | None:
        return self._graph

    def open(self, use: GraphUse) -> AbstractAsyncContextManager[Graph]:
        return nullcontext(self._graph)

    def with_store(self, store: BaseStore) -> GraphSource:
        return FixedGraph(remembering_in(self._graph, store))


class GraphFactory(GraphSource):
    def __init__(self, label: str, factory: Callable[..., Any], store: BaseStore | None = None) -> None:
        """Raises InvalidValue for a function that wants what nobody has."""
        self._label = label
        self._factory = factory
        self._arguments = _arguments_of(label, factory)
        self._store = store

    @property
    def fixed(self) -> Graph | None:
        return None

    @asynccontextmanager
    async def open(self, use: GraphUse) -> AsyncIterator[Graph]:
        async with AsyncExitStack() as stack:
            try:
                made = self._factory(**self._arguments(use.config, _runtime(use, self._store)))
                if hasattr(made, "__aenter__"):
                    made = await stack.enter_async_context(made)
                elif hasattr(made, "__enter__"):
                    made = stack.enter_context(made)
                elif inspect.isawaitable(made):
                    made = await made
            except SystemExit as error:
                raise Exited(f"the factory of {self._label} ended with {error!r}") from error
            try:
                graph = as_graph(self._label, "what its factory makes", made)
            except InvalidValue as error:
                raise AgentRaised(str(error)) from error
            yield graph if self._store is None else remembering_in(graph, self._store)

    def with_store(self, store: BaseStore) -> GraphSource:
        return GraphFactory(self._label, self._factory, store)


def source_of(label: str, source: str, found: Any) -> GraphSource:
    """Of a variable in a user's code. Raises InvalidValue: it is no graph, and nothing that makes one."""
    if isinstance(found, StateGraph | Pregel):
        return FixedGraph(as_graph(label, source, found))
    if callable(found) and not isinstance(found, type):
        return GraphFactory(label, found)
    kind = type(found).__name__
    raise InvalidValue(label, f"{source} is a {kind}, not a LangGraph graph, nor a function that makes one")


def as_graph(label: str, source: str, found: Any) -> Graph:
    """Compiled. Raises InvalidValue."""
    if isinstance(found, StateGraph):
        try:
            found = found.compile()
        except Exception as error:
            raise InvalidValue(label, f"{source} does not compile: {one_line(error)}") from error
    if not isinstance(found, Pregel):
        kind = type(found).__name__
        raise InvalidValue(label, f"{source} is a {kind}, not a LangGraph graph (StateGraph, or what it compiles to)")
    return typing.cast("Graph", found)


def remembering_in(graph: Graph, store: BaseStore) -> Graph:
    """What a graph keeps in the memory of the process would be gone with it."""
    if graph.store is not None and not isinstance(graph.store, InMemoryStore):
        return graph
    same = copy(graph)
    same.store = store
    return same


def _runtime(use: GraphUse, store: BaseStore | None) -> Any:
    known: dict[str, Any] = {
        "access_context": use.access,
        "user": (use.config.get("configurable") or {}).get(AUTHENTICATED),
        "store": store,
    }
    return _ExecutionRuntime(**known, context=use.context) if use.access == RUNS else _ReadRuntime(**known)


def _arguments_of(label: str, factory: Callable[..., Any]) -> Callable[[RunnableConfig, Any], Mapping[str, Any]]:
    """How a factory is called, by the number of its parameters and the annotation of the runtime's."""
    unnamed = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    wanted = [one for one in inspect.signature(factory).parameters.values() if one.kind not in unnamed]
    hints = _hints(factory)
    runtimes = [one.name for one in wanted if _is_runtime(hints.get(one.name, one.annotation))]
    others = [one for one in wanted if one.name not in runtimes]
    configs = [one.name for one in others if len(others) == 1 or one.default is one.empty]
    if len(runtimes) > 1 or len(configs) > 1:
        names = ", ".join(one.name for one in wanted)
        raise InvalidValue(
            label,
            f"its factory takes ({names}); expected nothing, a config, a parameter annotated ServerRuntime, or both",
        )
    return lambda config, runtime: dict.fromkeys(configs, config) | dict.fromkeys(runtimes, runtime)


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(factory, localns=NAMES)
    except Exception:  # noqa: BLE001 (an annotation may name anything)
        return {}


def _is_runtime(annotation: Any) -> bool:
    if annotation is ServerRuntime:
        return True
    if isinstance(annotation, type) and issubclass(annotation, KINDS):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    return origin is ServerRuntime or (origin is typing.Annotated and bool(arguments) and _is_runtime(arguments[0]))
