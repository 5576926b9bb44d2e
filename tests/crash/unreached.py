"""Points at which no kill of these scenarios happens, each with its reason. The test fails when one is missing here,
and when one that is listed has become reachable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PROCESSOR: Final = "application.session_processor:SessionProcessor."
_END: Final = "application.turn_end:TurnEnd."
_POOL: Final = "adapters.postgres.pool:Pool."
_SAVER: Final = "adapters.langgraph.saver:StagingSaver."
_RUN: Final = "adapters.langgraph.turn_run:TurnRun."
_THROUGH: Final = "adapters.langgraph.write_through:WriteThroughSaver."

UNREACHED: Final[Mapping[str, str]] = {
    f"{_END}_mended:3 await": "only if no store can hold the history",
    f"{_END}_mended:4 await": "only if no store can hold the history",
    **{
        f"application.turn_end:_settling:{point}": "only where the first try stood still past its limit"
        for point in ("3 enter", "3 exit", "4 await")
    },
    "application.effect_runner:EffectRunner._execute:3 await": "only if executing an effect raises: a defect",
    "adapters.postgres.outbox:PostgresOutbox.postpone:1 await": "only if executing an effect raises: a defect",
    "adapters.postgres.outbox:PostgresOutbox.revive:1 await": "only when somebody asks for a dead letter",
    "adapters.postgres.outbox:PostgresOutbox.next_due:1 await": "nothing in a server calls it",
    f"{_POOL}transaction:1 await": "erasing, and tools that go around a turn",
    f"{_POOL}transaction:2 enter": "erasing, and tools that go around a turn",
    f"{_POOL}transaction:2 exit": "erasing, and tools that go around a turn",
    f"{_POOL}transaction:3 await": "only behind a transaction pooler",
    f"{_POOL}transaction:4 await": "erasing, and tools that go around a turn",
    f"{_POOL}_acquire:2 await": "only behind a transaction pooler",
    f"{_POOL}_begin:1 await": "only behind a transaction pooler",
    f"{_POOL}_begin:2 await": "only behind a transaction pooler",
    **{
        f"adapters.postgres.pool:{point}": "only behind a transaction pooler"
        for point in (
            "_in_transaction:1 await",
            "_in_transaction:2 await",
            "_in_transaction:3 await",
            "_opened.init:1 enter",
            "_opened.init:1 exit",
            "_opened.init:2 await",
            "open_pool:2 await",
        )
    },
    "adapters.langgraph.recent_heads:AttemptHead.put:1 await": "no turn writes but by its commits",
    "adapters.postgres.checkpoints:PostgresCheckpoints.put:1 await": "no turn writes but by its commits",
    "adapters.postgres.replicas:PostgresReplicas.renew:1 await": "the heartbeat has a connection of its own",
    "application.own_clock:OwnClock.forever:3 await": "only if the store does not answer after that",
    "adapters.postgres.threads:PostgresThreads.count:1 await": "only a read, and only where callers have limits",
    "entrypoints.web.user_limits:Allowance.thread:1 await": "only a read, and only where callers have limits",
    "entrypoints.web.user_limits:Allowance.thread:2 await": "only a read, and only where callers have limits",
    "entrypoints.web.threads:me:1 await": "only a read, and of no thread",
    **{
        f"adapters.langgraph.graph_source:GraphFactory.open:{point}": "the graphs here are compiled once, by no factory"
        for point in ("1 enter", "1 exit", "2 await", "3 await")
    },
    **dict.fromkeys(
        (
            "entrypoints.langgraph_api.access:Access._noted:2 await",
            "entrypoints.langgraph_api.access:Access.run:1 await",
            "entrypoints.langgraph_api.stateless_runs:_hidden:1 await",
            "entrypoints.web.connection:Connection._stop_turn:1 await",
            "entrypoints.web.connection:Connection._take:2 await",
            "entrypoints.web.open_connections:_ask_again_forever:1 await",
            "entrypoints.web.open_connections:_ask_again_forever:2 await",
        ),
        "only where a project has rules of its own",
    ),
    "entrypoints.agent_protocol.socket:ProtocolSocket._read_all:3 await": "only behind 256 answers that nobody reads",
    **dict.fromkeys(
        ("entrypoints.langgraph_api.runs:_cancels:1 await", "entrypoints.langgraph_api.runs:_cancels:2 await"),
        "only where whoever joins a run wants it cancelled when they leave",
    ),
    **dict.fromkeys(
        (
            "entrypoints.langgraph_api.run_responses:RunResponses._start:7 await",
            "entrypoints.langgraph_api.run_responses:RunResponses._unnote:1 await",
        ),
        "only where the run of a thread that nobody has named is not accepted",
    ),
    "entrypoints.langgraph_api.going_on:served_before:2 await": "only where its assistant is gone",
    "entrypoints.langgraph_api.states:_runs:1 await": "only a read, and of a thread that is busy",
    "entrypoints.agent_protocol.start:_Log.after:1 await": "only for a `since` of another thread",
    **dict.fromkeys(
        (
            "entrypoints.agent_protocol.feed:Feed._told:1 await",
            "entrypoints.agent_protocol.feed:Feed._bridge:1 await",
            "entrypoints.langgraph_api.run_following:FollowedRun._end_in:1 await",
        ),
        "only where the log does not reach back to what a reader has seen",
    ),
    "entrypoints.service:_forever:2 await": "only if a background loop raises: a defect",
    f"{_SAVER}list.collected:1 next": "no turn lists checkpoints",
    **{
        f"{_THROUGH}{method}": "outside of turns: for tools and migrations"
        for method in (
            "aget_tuple:1 await",
            "alist:1 next",
            "aput:1 await",
            "aput:2 await",
            "aput_writes:1 await",
            "aput_writes:2 await",
            "adelete_thread:1 await",
            "adelete_for_runs:1 await",
            "acopy_thread:1 await",
            "aprune:1 await",
            "aget_delta_channel_history:1 await",
        )
    },
}

BY_CHANCE: Final[Mapping[str, str]] = {
    "application.event_queue:EventQueue._give_back:3 await": "the server is told to stop between two tries",
    "adapters.postgres.sessions:PostgresSessions.release_thread:1 await": "the server is told to stop so",
    "application.session_doors:SessionDoors.all_out:1 await": "the server is told to stop within an accept",
    "application.subscribe:Subscribe.__call__:2 await": "a client comes with a cursor that is not known here yet",
    "application.subscribe:Subscribe.__call__:3 await": "a client comes with a cursor that is not known here yet",
    "application.event_queue:EventQueue._ask_about:2 await": "others have worked on a session that is watched here",
    "application.fire_timers:FireTimers._fire:2 await": "the server is told to stop while a timer fires",
    "application.session_doors:SessionDoors.accept:1 await": "an accept meets a look at the same session",
    "application.session_doors:SessionDoors.look:1 await": "a look meets an accept of the same session",
    f"{_PROCESSOR}process:2 await": "a cancel lands while the finishing commit is under way",
    f"{_PROCESSOR}process:3 await": "a cancel lands while the finishing commit is under way",
    f"{_PROCESSOR}_failed:3 await": "a cancel lands while a failure is written down",
    f"{_PROCESSOR}_failed:4 await": "a cancel lands while a failure is written down",
    f"{_PROCESSOR}_open:1 await": "a timer's event is overtaken between its claim and its accept",
    f"{_END}skipped:1 await": "a timer's event is overtaken between its claim and its accept",
    f"{_PROCESSOR}_run:7 await": "the agent's name is unknown, or no store can hold its answer",
    "application.running_attempt:RunningAttempt.committed:1 await": "the server is cut off within a superstep's commit",
    f"{_END}_commit:2 await": "the server is cut off within a commit",
    f"{_POOL}close:1 await": "the server is told to stop within a statement",
    "application.own_clock:OwnClock.once:1 await": "the machine is so busy that a lease passes before it is renewed",
    "application.own_clock:OwnClock.forever:2 await": "the machine is so busy that a lease passes before it is renewed",
    "adapters.postgres.sessions:PostgresSessions.standing:1 await": "a lease passed before it was renewed",
    "adapters.postgres.group_commit:GroupCommit.commit:1 await": "sessions finish while another one does",
    "adapters.postgres.group_commit:GroupCommit._send:1 await": "sessions finish while another one does",
    **{f"{_POOL}_take:{point}": "more calls at once than connections" for point in ("1 enter", "1 exit", "2 await")},
    f"{_POOL}_take:4 await": "a connection ends while nobody uses it",
    "entrypoints.web.connection:Connection._until_over:2 await": "the socket ends while an accept is on its way",
    **{
        f"entrypoints.web.event_stream:Streamed._keep_open:{point}": "five seconds without news"
        for point in ("2 enter", "2 exit", "3 await")
    },
    "entrypoints.web.frugal:Door.wait:1 await": "a reader that does not keep up",
    "entrypoints.web.connection:Connection._send_all:5 await": "a reader that does not keep up",
}
"""Points that need two things at the same moment: killed at when they are passed, and not demanded."""
