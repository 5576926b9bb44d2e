"""What clients ask of a run, and what is made of it. What this server does not do is refused with a sentence."""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct

from unbroken.domain.catalogue import Metadata
from unbroken.domain.events import RunStart, WhenBusy
from unbroken.entrypoints.langgraph_api.answers import invalid
from unbroken.entrypoints.langgraph_api.assistants import Served
from unbroken.entrypoints.web.rest import Problem

MODES: Final = frozenset({"values", "updates", "messages", "messages-tuple", "custom", "checkpoints", "tasks", "debug"})
ELSEWHERE: Final = frozenset({"tools", "lifecycle"})
"""Modes of the Agent Streaming Protocol, which has routes of its own."""
OURS: Final = frozenset({"thread_id", "user_id", "run_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})
"""Keys of `configurable` that name a place or a person: never a caller's to set."""
RESERVED: Final = ("__", "langgraph_auth_")
MOST_STEPS: Final = 1_000_000_000
"""As `recursion_limit`."""
OF_THE_SERVER: Final = ("graph_id", "assistant_id")
"""Of metadata, what no caller sets: it says what ran."""


class CheckpointRef(Struct, frozen=True):
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None


class Asked(Struct, frozen=True):
    """The body of every route that starts a run."""

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    context: Any = None
    metadata: dict[str, Any] | None = None
    stream_mode: str | list[str] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    multitask_strategy: WhenBusy | None = None
    interrupt_before: str | list[str] | None = None
    interrupt_after: str | list[str] | None = None
    checkpoint: CheckpointRef | None = None
    checkpoint_id: str | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    on_completion: Literal["delete", "keep"] | None = None
    after_seconds: float | None = None
    webhook: str | None = None

    @property
    def modes(self) -> list[str]:
        return modes_of(self.stream_mode)

    @property
    def when_busy(self) -> WhenBusy:
        return self.multitask_strategy or WhenBusy.ENQUEUE


class NewRun(Struct, frozen=True):
    """A run that is asked for, before anybody has allowed it."""

    assistant: Served
    body: RunStart
    said: Metadata
    """What its caller, and not the assistant, noted of it."""
    creates: bool
    """Its thread, where there is none."""

    def metadata_with(self, said: Metadata) -> Metadata:
        """The run's, with `said` in the place of what its caller noted."""
        background = {name: value for name, value in self.body.metadata.items() if name not in self.said}
        ours = {name: self.body.metadata[name] for name in (*OF_THE_SERVER, "created_by")}
        return {**background, **said, **ours}


def modes_of(asked: str | list[str] | None) -> list[str]:
    """Raises Problem: one that there is not here."""
    modes = [asked] if isinstance(asked, str) else list(asked or ())
    for mode in modes:
        if mode == "events":
            raise invalid("stream_mode 'events' is not recorded by this server; ask for the others beside it")
        if mode in ELSEWHERE:
            raise invalid(f"stream_mode {mode!r} is only supported on the v2 event streaming endpoints")
        if mode not in MODES:
            raise invalid(f"stream_mode {mode!r} is none of {', '.join(sorted(MODES))}")
    return modes or ["values"]


def run_of(asked: Asked, assistant: Served, *, stateless: bool = False) -> NewRun:
    """Raises Problem."""
    _refuse(asked, stateless)
    _check_assistant(assistant)
    config = _config(asked, assistant)
    configurable = config.get("configurable") or {}
    checkpoint_id = _checkpoint(asked, configurable)
    body = RunStart(
        input=asked.input,
        command=_command(asked.command),
        config={key: config[key] for key in ("recursion_limit", "tags", "configurable") if config.get(key) is not None},
        context=_context(asked, assistant, configurable),
        metadata={
            **assistant.metadata,
            **(config.get("metadata") or {}),
            **(asked.metadata or {}),
            "created_by": "system",
            "graph_id": assistant.graph_id,
            "assistant_id": assistant.assistant_id,
        },
        checkpoint_id=checkpoint_id,
        interrupt_before=asked.interrupt_before,
        interrupt_after=asked.interrupt_after,
        rich=True,
        client=_client(asked, stateless),
    )
    said = {**((asked.config or {}).get("metadata") or {}), **(asked.metadata or {})}
    return NewRun(assistant, body, said, creates=stateless or asked.if_not_exists == "create")


def _refuse(asked: Asked, stateless: bool) -> None:
    if asked.webhook is not None:
        raise invalid("webhook: this server calls nobody; follow the run instead")
    if asked.after_seconds:
        raise invalid("after_seconds: this server starts runs at once")
    if stateless and (asked.command or {}).get("resume") is not None:
        raise invalid("You must provide a thread_id when resuming.")
    if asked.checkpoint is not None and asked.checkpoint.checkpoint_ns:
        raise invalid("checkpoint_ns: only checkpoints of the root graph can be gone on from")
    check_config(asked.config or {}, asked.context)


def check_config(config: dict[str, Any], context: Any) -> None:
    """Of a run, or of an assistant. Raises Problem."""
    for name in ("configurable", "metadata"):
        if not isinstance(config.get(name) or {}, dict):
            raise invalid(f"config.{name} must be an object")
    limit = 1 if config.get("recursion_limit") is None else config["recursion_limit"]
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST_STEPS:
        raise invalid(f"config.recursion_limit must be a whole number from 1 to {MOST_STEPS}")
    tags = config.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise invalid("config.tags must be a list of texts")
    if not isinstance(context or {}, dict):
        raise invalid("context must be an object")
    if config.get("configurable") and context:
        raise invalid("Cannot specify both configurable and context. Prefer setting context alone.")


def _check_assistant(assistant: Served) -> None:
    """What older versions have stored was not looked at. Raises Problem."""
    try:
        check_config(assistant.config, None)
        check_config({}, assistant.context)
    except Problem as problem:
        message = f"assistant {assistant.assistant_id} cannot run: its {problem}. Update the assistant"
        raise invalid(message) from problem


def _client(asked: Asked, stateless: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"stream_mode": asked.modes, "multitask_strategy": asked.when_busy.value}
    if asked.stream_subgraphs:
        told["subgraphs"] = True
    if stateless:
        told["temporary"] = asked.on_completion != "keep"
    return told


def _config(asked: Asked, assistant: Served) -> dict[str, Any]:
    given = asked.config or {}
    configurable = {**(assistant.config.get("configurable") or {}), **(given.get("configurable") or {})}
    return {**assistant.config, **given, **({"configurable": configurable} if configurable else {})}


def _context(asked: Asked, assistant: Served, configurable: dict[str, Any]) -> dict[str, Any] | None:
    """The assistant's with the run's on top. None: neither gave one, and what is configurable stands for it."""
    if not asked.context and not assistant.context:
        return None
    named = (asked.config or {}).get("configurable") or {}
    given = asked.context or {name: configurable[name] for name in named if name in configurable}
    return {**configurable, **(assistant.context or {}), **given}


def _checkpoint(asked: Asked, configurable: dict[str, Any]) -> str | None:
    """From wherever it is named; taken out of `configurable`, as everything there that is ours."""
    named = configurable.get("checkpoint_id")
    for key in [key for key in configurable if key in OURS or key.startswith(RESERVED)]:
        del configurable[key]
    of = asked.checkpoint.checkpoint_id if asked.checkpoint is not None else None
    return asked.checkpoint_id or of or (named if isinstance(named, str) else None)


def _command(command: dict[str, Any] | None) -> dict[str, Any] | None:
    known = {key: value for key, value in (command or {}).items() if value is not None}
    if unknown := set(known) - {"resume", "update", "goto"}:
        raise invalid(f"command: {min(unknown)!r} is none of resume, update, goto")
    return known or None
