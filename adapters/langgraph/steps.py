"""What a run shows beside its answer's text: custom data always, and LangGraph's own stream modes where a run is rich.

LangGraph's stream modes put what they say into a queue that whoever iterates the run takes from, and a waiter is woken
for each item. Here nobody takes: a parent's stream is handed to the graph as to a subgraph's, at any depth, and what is
written to it is a function call away from the attempt. A run that says nothing pays nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from langgraph._internal._constants import CONFIG_KEY_RUNTIME, CONFIG_KEY_STREAM
from langgraph.config import get_config
from langgraph.pregel.protocol import StreamChunk, StreamProtocol
from langgraph.runtime import DEFAULT_RUNTIME
from langgraph.store.base import BaseStore
from langgraph.types import StreamMode

from unbroken.adapters.langgraph.attachments import Attachments
from unbroken.adapters.langgraph.json_values import json_of
from unbroken.domain.ports.agent import Attempt

log = logging.getLogger(__name__)

Namespace = tuple[str, ...]
"""The tasks on the way down to a subgraph, `node:task` each; empty: the root graph."""

RICH_MODES: Final[frozenset[StreamMode]] = frozenset({"values", "updates", "checkpoints", "tasks"})


class Steps:
    """Any thread may tell it something; the attempt is told on the event loop, in each thread's order."""

    def __init__(self, attempt: Attempt, attachments: Attachments | None = None) -> None:
        self._attempt = attempt
        self._attachments = attachments
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def configurable(self, store: BaseStore | None, *, rich: bool) -> dict[str, Any]:
        """What makes a run of a graph write here, for its config's `configurable`. `store`: the graph's own, which
        LangGraph looks for there, too, once a writer is."""
        return {
            CONFIG_KEY_STREAM: StreamProtocol(self.put, set(RICH_MODES) if rich else set()),
            CONFIG_KEY_RUNTIME: DEFAULT_RUNTIME.override(stream_writer=self._custom, store=store),
        }

    def put(self, chunk: StreamChunk) -> None:
        """(namespace, method, what is said): never raises, for LangGraph's loop would fail with it. Files stay
        references, as the state has them."""
        namespace, method, said = chunk
        try:
            data = json_of(said if self._attachments is None else self._attachments.referring(said))
        except Exception:  # a state may hold anything
            log.warning("a step of the run cannot be shown: %s of a %s", method, type(said).__name__, exc_info=True)
            return
        self.on_loop(self._attempt.step, method, namespace, data)

    def on_loop(self, step: Callable[..., None], *args: Any) -> None:
        if threading.get_ident() == self._thread:
            step(*args)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(step, *args)

    def _custom(self, said: Any) -> None:
        place = str(get_config()["configurable"].get("checkpoint_ns") or "")
        self.put((tuple(place.split("|")[:-1]), "custom", said))
