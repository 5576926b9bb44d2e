"""`unbroken inspect`, `doctor` and `retry`: what the store knows, told to whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.audit import Entry, SessionFacts, Turn, Why, told
from unbroken.domain.diagnosis import POLL_S, Finding, diagnose
from unbroken.domain.errors import InvalidValue
from unbroken.domain.session import SessionKey

CONNECTIONS: Final = 2
MOST: Final = 100
"""Findings of each kind."""
WHY: Final[dict[Why, str]] = {
    "accepted": "the session was idle",
    "next": "the event before had ended",
    "found": "a look found it waiting",
    "again": "the one before ended",
    "lease_expired": "the lease of the replica before ran out",
    "owner_gone": "the process of the replica before is gone",
}


async def read_session(url: str, name: str, *, limit: int, request_id: str | None) -> SessionFacts:
    """`name`: a session key, or a thread's id. Raises InvalidValue: there is no such session, or request in it."""
    key = SessionKey.parse(name) if ":" in name else None
    async with open_postgres(url, pool_size=CONNECTIONS) as store:
        thread_id = key.thread_id if key else name
        facts = await store.audit.session(thread_id, limit=limit, request_id=request_id)
    if facts is None or (key is not None and facts.key != key):
        raise InvalidValue("session", f"there is no {name!r}, or it was deleted")
    if request_id is not None and not facts.events:
        raise InvalidValue("request", f"{facts.key} has none of the id {request_id!r}")
    return facts


async def find_trouble(url: str, *, turn_limit_s: float) -> list[Finding]:
    async with open_postgres(url, pool_size=CONNECTIONS) as store:
        return diagnose(await store.audit.trouble(older_s=POLL_S, limit=MOST), turn_limit_s=turn_limit_s)


async def retry(url: str, name: str, effect_id: str) -> bool:
    """False: the effect was not given up."""
    facts = await read_session(url, name, limit=1, request_id=None)
    async with open_postgres(url, pool_size=CONNECTIONS) as store:
        return await store.outbox.revive(facts.key.thread_id, effect_id)


def session_json(facts: SessionFacts) -> Iterator[str]:
    owner = {"owner": facts.owner_name, "replica": facts.owner, "alive": facts.owner_alive}
    head = {"session": str(facts.key), **owner, "epoch": facts.epoch}
    marks = {"cursor": facts.log_index, "sent": facts.sent, "acked": facts.acked}
    yield msgspec.json.encode(head | marks).decode()
    for turn in told(facts):
        yield msgspec.json.encode(turn).decode()


def session_lines(facts: SessionFacts) -> Iterator[str]:
    return map(_plain, _session_lines(facts))


def _session_lines(facts: SessionFacts) -> Iterator[str]:
    owner = "nobody"
    if facts.owner is not None:
        state = "alive" if facts.owner_alive else "its lease is over" if facts.owner_name else "gone"
        name = f" at {facts.owner_name}" if facts.owner_name else ""
        owner = f"replica {facts.owner}{name} ({state})"
    yield f"session {facts.key}"
    marks = f"log {facts.log_index}, delivered {facts.sent}, acknowledged {facts.acked}"
    yield f"owner {owner}, epoch {facts.epoch}; {marks}"
    if facts.earlier:
        yield "… earlier events are left out: see --limit"
    for turn in told(facts):
        yield ""
        yield from _turn_lines(turn)


def _turn_lines(turn: Turn) -> Iterator[str]:
    counted = "attempts not known" if turn.attempts is None else f"{turn.attempts} attempt{'s' * (turn.attempts != 1)}"
    trace = f", trace {turn.trace_id}{' (not sampled)' * (not turn.sampled)}" if turn.trace_id else ""
    yield f"event {turn.seq}, request {turn.request_id}: {turn.type}, {turn.state}, {counted}{trace}"
    for entry in turn.entries:
        yield f"  {_moment(entry.at):<23} {_length(entry.ms):>9}  {_words(entry)}"


def _words(entry: Entry) -> str:
    match entry.kind:
        case "attempt":
            why = f", because {WHY[entry.why]}{f': {entry.because}' * bool(entry.because)}" if entry.why else ""
            where = f" at replica {entry.replica}" if entry.replica is not None else ""
            end = ", handed over" if entry.handed_over else ", lost" * entry.lost
            return f"attempt {entry.attempt}{where}{why}{end}"
        case "checkpoint":
            ns = f" of {entry.checkpoint_ns}" if entry.checkpoint_ns else ""
            return f"checkpoint {entry.checkpoint_id}{ns}, step {entry.step}, {entry.source} (its process's clock)"
        case "effect":
            tries = f", {entry.tries} tries" if entry.tries is not None else f", cursor {entry.cursor}"
            error = f"; {entry.error}" if entry.error else ""
            code = f" {entry.code}" if entry.code else ""
            return f"effect {entry.effect_id} {entry.type}{code}: {entry.status}{tries}{error}"
        case "delivered" | "acknowledged":
            return f"{entry.kind}, cursor {entry.cursor}"
        case "cancel":
            return "cancel accepted"
        case _:
            return entry.kind


def _moment(at: datetime | None) -> str:
    return "not known" if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def _length(ms: int | None) -> str:
    if ms is None:
        return ""
    return f"+{ms} ms" if ms < 10_000 else f"+{ms / 1000:.1f} s"


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    return map(_plain, _finding_lines(findings))


def _finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        yield "nothing is stuck"
    for finding in findings:
        yield f"{finding.what}: {finding.session}, since {_moment(finding.since)} ({_age(finding.seconds)})"
        yield f"  {finding.details}"
        yield f"  → {finding.advice}"


def _plain(line: str) -> str:
    """One line, whatever an exception's words or an agent's names hold: they steer no terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def _age(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
