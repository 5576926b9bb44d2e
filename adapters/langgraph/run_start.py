"""A run as LangGraph's own clients ask for it: its config, and what its graph is given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.pregel._utils import is_xxh3_128_hexdigest
from langgraph.types import Command, Send, StateSnapshot
from msgspec.structs import replace

from unbroken.adapters.langgraph.authenticated import whose
from unbroken.adapters.langgraph.inputs import resets
from unbroken.domain.errors import AgentRaised, QuestionClosed
from unbroken.domain.events import EventBody, InputResponse, RunStart, TimerFired, UserMessage
from unbroken.domain.policy import own_question_id
from unbroken.domain.ports.identity import Details
from unbroken.domain.session import Claim, SessionKey

OURS: Final = frozenset({"thread_id", "user_id", "run_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})
"""Keys of `configurable` that say whose state is touched: never the caller's."""
OUR_PREFIXES: Final = ("__", "langgraph_auth_")


def shape_of(body: EventBody, former: RunStart | None) -> RunStart | None:
    """Whose config and context the event is worked off with: its own, or those of the `former` run that it goes on
    with, and upon those what a project's rules have set of a chat's. None: a message's, and the graph's own defaults
    stand."""
    if isinstance(body, RunStart):
        return body
    if isinstance(body, UserMessage | InputResponse) and (body.config or body.context is not None):
        return _set_upon(former or RunStart(), body)
    return former


def _set_upon(former: RunStart, body: UserMessage | InputResponse) -> RunStart:
    configurable = _mapping(former.config, "configurable") | _mapping(body.config, "configurable")
    context = former.context if body.context is None else body.context
    return replace(former, config={**former.config, **body.config, "configurable": configurable}, context=context)


def config_of(claim: Claim, former: RunStart | None = None, schema: type[Any] | None = None) -> RunnableConfig:
    """Of the claimed event's run: whose it is, and what its caller wants of it, or of the `former` one that it goes on
    with. `schema`: as for `config_for`."""
    body = claim.event.body
    shape = shape_of(body, former)
    config = config_for(claim.key, None if isinstance(body, TimerFired) else body.user, shape, schema)
    if shape is not None:
        config["configurable"]["run_id"] = config["metadata"]["run_id"] = claim.event.id
    return config


def config_for(
    key: SessionKey, user: Details | None, shape: RunStart | None, schema: type[Any] | None = None
) -> RunnableConfig:
    """What is done in this thread for `user`, as a run of this `shape` would be; None: nothing shapes it. What its
    context sets is configurable, too. `schema`: of the graph's context, once the graph is known: what that lacks is
    left out."""
    ours = whose(key, user)
    if shape is None:
        return {"configurable": ours}
    wanted = shape.config
    context = context_of(shape, schema)
    theirs = _mapping(wanted, "configurable") | (context if isinstance(context, dict) else {})
    named: dict[str, Any] = {
        name: shape.metadata[name] for name in ("assistant_id", "graph_id") if name in shape.metadata
    }
    config: RunnableConfig = {
        "configurable": {name: value for name, value in theirs.items() if not _is_ours(name)} | named | ours,
        "metadata": _mapping(wanted, "metadata") | shape.metadata,
    }
    if "recursion_limit" in wanted:
        config["recursion_limit"] = int(wanted["recursion_limit"])
    if "tags" in wanted:
        config["tags"] = [str(tag) for tag in wanted["tags"]]
    return config


def without_run(configurable: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in configurable.items() if name != "run_id"}


def context_of(shape: RunStart | None, schema: type[Any] | None) -> Any:
    """What nodes find as their runtime's context: where none is given, what is configurable, as LangGraph's server has
    it; never what the graph's own `schema` does not have. A message brings neither, and then its defaults stand."""
    if shape is None:
        return {}
    given = shape.context
    if given is None:
        given = theirs_of(shape.config)
    known = _names_of(schema)
    if known is None or not isinstance(given, dict):
        return given
    return {name: value for name, value in given.items() if name in known}


def theirs_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is `configurable` in a caller's config, but for what is never the caller's."""
    return {name: value for name, value in _mapping(config, "configurable").items() if not _is_ours(name)}


def _names_of(schema: type[Any] | None) -> Collection[str] | None:
    """Under which values are given to it; None: any."""
    if schema is None:
        return None
    if (fields := getattr(schema, "model_fields", None)) is not None:
        return {name for key, field in fields.items() for name in (key, field.alias or key)}
    if (fields := getattr(schema, "__dataclass_fields__", None)) is not None:
        return set(fields)
    return None  # a mapping's keys are anybody's


def command_of(
    wanted: Mapping[str, Any], snapshot: StateSnapshot, effect_channels: Sequence[str], open_questions: Collection[str]
) -> Command[Any]:
    """LangGraph's command from plain JSON, for the state in which it finds its graph. `open_questions`: our ids. Raises
    QuestionClosed: it answers what nobody asks, AgentRaised: it is no command."""
    unknown = sorted(set(wanted) - {"resume", "update", "goto"})
    if unknown:
        raise AgentRaised(f"a command has `resume`, `update` and `goto`, but no {unknown[0]!r}")
    update = wanted.get("update")
    reset = resets(effect_channels)
    if isinstance(update, list):
        update = [*reset.items(), *map(_pair, update)]
    elif reset:
        update = reset | (update or {})
    return Command(
        update=update, resume=_resume(wanted.get("resume"), snapshot, open_questions), goto=_goto(wanted.get("goto"))
    )


def _resume(answer: Any, snapshot: StateSnapshot, open_questions: Collection[str]) -> Any:
    """A mapping from ids of questions, the agent's own or ours; those that are not open any more are left out. Anything
    else is one answer."""
    if answer is None:
        return None
    if not snapshot.next:
        raise QuestionClosed("this thread has no open question")
    if not isinstance(answer, dict):
        return answer
    if not answer:  # LangGraph takes it for answers to no question, and asks again
        raise AgentRaised("`resume` is an empty object, which answers nothing: name the question that it answers")
    asked = {interrupt.id for interrupt in snapshot.interrupts}
    named = {}
    for id_, value in answer.items():
        own = own_question_id(id_) if ":" in id_ else id_
        if not is_xxh3_128_hexdigest(own):
            return answer
        if own in asked and (own == id_ or id_ in open_questions):
            named[own] = value
    if not named:
        raise QuestionClosed("none of these questions is open any more")
    return named


def _goto(wanted: Any) -> Any:
    if wanted is None:
        return ()
    if isinstance(wanted, list):
        return [_target(one) for one in wanted]
    return _target(wanted)


def _target(wanted: Any) -> str | Send:
    if isinstance(wanted, str):
        return wanted
    if isinstance(wanted, dict) and isinstance(wanted.get("node"), str):
        return Send(wanted["node"], wanted.get("input"))
    raise AgentRaised("`goto` names a node, or is an object with `node` and `input`, or a list of these")


def _pair(wanted: Any) -> tuple[str, Any]:
    if isinstance(wanted, list) and len(wanted) == 2 and isinstance(wanted[0], str):
        return wanted[0], wanted[1]
    raise AgentRaised("`update` is an object, or a list of [key, value] pairs")


def _mapping(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _is_ours(name: str) -> bool:
    return name in OURS or name.startswith(OUR_PREFIXES)
