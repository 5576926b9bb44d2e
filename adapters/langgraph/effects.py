"""Effects from inside a graph: a node returns what it owes the world, instead of doing it.

    from langgraph.graph import MessagesState
    from unbroken.adapters.langgraph.effects import Effects, schedule_timer

    class State(MessagesState):
        effects: Effects

    def remind(state: State) -> dict[str, object]:
        return {
            "messages": [AIMessage("I will come back to it in ten minutes.")],
            "effects": [schedule_timer(600, payload="the report", timer_id="report")],
        }

What the nodes of one event returned is committed in the same transaction as its answer, once, however often a
crash made a node run again: an effect's identity is the event, the node's name, and how many times that node
returned effects within the event; never a task id or a clock. The channel is emptied when the next event starts.
Effects returned inside a subgraph count when the subgraph hands its `effects` back to the root.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.channels.binop import BinaryOperatorAggregate

from unbroken.adapters.langgraph.json_values import as_json
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.turn import NodeEffect
from unbroken.domain.utf16 import well_formed

EffectDict = dict[str, Any]
"""A plain dict, so that it survives every serializer and version: see `schedule_timer`."""

RESET: EffectDict = {"type": "reset"}


def schedule_timer(after_s: float, payload: Any = None, timer_id: str = "") -> EffectDict:
    """Wake this session `after_s` seconds after the commit, unless the user writes first.

    The timer arrives as a message named `timer`, with `payload` (plain JSON) in its `additional_kwargs`. Setting
    a timer of the same non-empty `timer_id` again replaces it. Call it inside a node and return the result under
    the `effects` key. Raises ValueError unless `after_s` is a finite number ≥ 0.
    """
    if not math.isfinite(after_s) or after_s < 0:
        raise ValueError(f"after_s is {after_s}; a timer needs a finite number of seconds, 0 or more")
    return {
        "type": "schedule_timer",
        "after_s": float(after_s),
        "payload": payload,
        "timer_id": timer_id,
        **_place(),
    }


def collect(left: Sequence[EffectDict] | None, right: Sequence[EffectDict] | None) -> list[EffectDict]:
    """The channel's reducer: appends, numbers within one return, drops what is already there."""
    collected = list(left or ())
    known = {_identity(effect) for effect in collected}
    for ordinal, effect in enumerate(right or ()):
        if effect.get("type") == RESET["type"]:
            collected, known = [], set()
            continue
        numbered = effect if "ordinal" in effect else {**effect, "ordinal": ordinal}
        if _identity(numbered) not in known:
            known.add(_identity(numbered))
            collected.append(numbered)
    return collected


Effects = Annotated[list[EffectDict], collect]
"""The type of the state's `effects` key."""


def effect_channels(channels: Mapping[str, Any]) -> list[str]:
    """Names of the channels that hold effects, whatever the state calls them."""
    return [
        name
        for name, channel in channels.items()
        if isinstance(channel, BinaryOperatorAggregate) and channel.operator is collect
    ]


def node_effects(collected: Sequence[EffectDict]) -> tuple[NodeEffect, ...]:
    """What a state's effects mean: occurrences are counted per node, in the order the runs were applied."""
    runs: dict[str, list[Any]] = {}
    effects = []
    for effect in collected:
        node_path, run = well_formed(str(effect.get("node", ""))), effect.get("run")
        seen = runs.setdefault(node_path, [])
        if run not in seen:
            seen.append(run)
        timer_id = well_formed(str(effect.get("timer_id", "")))
        body = ScheduleTimer(float(effect["after_s"]), as_json(effect.get("payload")), timer_id)
        effects.append(NodeEffect(body, node_path, seen.index(run), int(effect["ordinal"])))
    return tuple(effects)


def _identity(effect: EffectDict) -> tuple[Any, ...]:
    return effect.get("node"), effect.get("run"), effect.get("ordinal")


def _place() -> EffectDict:
    """Where in the graph this runs: node names on the way down, and what tells this run of the node from others.

    `run` holds task ids, which a repeated attempt makes anew. It only groups what one state holds; identities
    that outlive the attempt come from `node_effects`.
    """
    metadata = (var_child_runnable_config.get() or {}).get("metadata") or {}
    run = str(metadata.get("langgraph_checkpoint_ns", ""))
    return {"node": "|".join(step.partition(":")[0] for step in run.split("|") if step), "run": run}
