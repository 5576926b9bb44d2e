"""Where in the log a reader begins, over logs of every shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent_protocol.told import answer, said
from unbroken.domain.effects import (
    CloseQuestion,
    EffectClaim,
    LogEntry,
    LoggedBody,
    RequestInput,
    SendMessage,
)
from unbroken.domain.ports.outbox import Ended, Outbox, Reached
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, Position, SessionKey, SessionView, Strays
from unbroken.domain.turn import Fork
from unbroken.entrypoints.agent_protocol import positions
from unbroken.entrypoints.agent_protocol.start import start
from unbroken.entrypoints.langgraph_api.open_questions import open_questions

KEY = SessionKey("u", "a", "t")
Turn = tuple[int, int, int]
"""Attempts that it took; questions that it closed; questions that it asked."""


def log_of(turns: Sequence[Turn]) -> list[LogEntry]:
    entries: list[LogEntry] = []
    attempt = 0
    for seq, (attempts, closed, asked) in enumerate(turns, 1):
        attempt += attempts
        bodies: list[LoggedBody] = [
            *(CloseQuestion(f"q{seq - 1}.{n}:{seq - 1}", "answered") for n in range(closed)),
            answer(attempt=attempt, waiting=bool(asked)),
            *(RequestInput(f"q{seq}.{n}:{seq}", None) for n in range(asked)),
        ]
        entries += [LogEntry(len(entries) + n, said(seq), body) for n, body in enumerate(bodies, 1)]
    return entries


class Logged(Outbox, Sessions):
    """A log, and nothing else of a store."""

    def __init__(self, entries: list[LogEntry], *, floor: int = 0, waiting: bool = False) -> None:
        self.entries = entries
        self.reads = 0
        runs = [entry.attempt for entry in entries if entry.attempt is not None]
        ends = len(entries)
        pending = (said(10_000),) if waiting else ()
        self._view = SessionView(KEY, ends, floor, 0, 0, max(runs, default=0) + waiting, pending)

    async def read(self, thread_id: str, *, after: int, limit: int) -> Sequence[LogEntry]:
        self.reads += 1
        assert after >= self._view.log_floor
        return self.entries[after : after + limit]

    async def view(self, thread_id: str) -> SessionView | None:
        return self._view

    async def end_of(self, thread_id: str, seq: int) -> Ended | None:
        raise NotImplementedError

    async def mark(self, sent: Mapping[str, Reached], acked: Mapping[str, Reached]) -> None:
        raise NotImplementedError

    async def claim(self, *args: object, **kwargs: object) -> Sequence[EffectClaim] | Claim | None:  # type: ignore[override]
        raise NotImplementedError

    async def complete(self, claim: EffectClaim) -> bool:
        raise NotImplementedError

    async def postpone(self, claim: EffectClaim, *, retry_after_s: float | None, error: str | None = None) -> bool:
        raise NotImplementedError

    async def revive(self, thread_id: str, effect_id: str) -> bool:
        raise NotImplementedError

    async def next_due(self) -> datetime | None:
        raise NotImplementedError

    async def release(self, claim: Claim) -> bool:
        raise NotImplementedError

    async def release_thread(self, thread_id: str, *, replica: int) -> bool:
        raise NotImplementedError

    async def before(self, thread_id: str, request_id: str) -> Fork | None:
        raise NotImplementedError

    async def strays(self, *, replica: int, limit: int) -> Strays:
        raise NotImplementedError

    async def behind(self, known: Mapping[str, Position]) -> Sequence[str]:
        raise NotImplementedError

    async def alone(self, *, replica: int) -> int | None:
        raise NotImplementedError

    async def standing(self, *, replica: int) -> Mapping[str, int]:
        raise NotImplementedError


def needed(entries: list[LogEntry], mark: int) -> int:
    """The cursor before the first event that ended with the mark's attempt or a later one, by going through all."""
    seqs = [entry.event.seq for entry in entries if (entry.attempt or 0) >= positions.attempt_of(mark)]
    return next((entry.log_index - 1 for entry in entries if seqs and entry.event.seq == seqs[0]), len(entries))


turns = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 40)), max_size=12)


@pytest.mark.asyncio
@given(turns=turns, of=st.floats(0, 1), ended=st.booleans())
async def test_a_mark_leads_to_the_first_event_that_may_hold_something_unseen(
    turns: list[Turn], of: float, ended: bool
) -> None:
    store = Logged(log_of(turns))
    last = sum(attempts for attempts, _, _ in turns)
    attempt = round(of * last)
    mark = positions.ended(attempt, 3) if ended else positions.live(attempt, 5, 0)
    found = await start(store, store, KEY, [mark])
    wanted = needed(store.entries, mark)
    assert found.cursor <= wanted
    between = {entry.event.seq for entry in store.entries[found.cursor : wanted]}
    assert len(between) <= 1, "at most one event more than is needed"
    cut = store.entries[found.cursor - 1 : found.cursor + 1] if found.cursor else []
    assert len({entry.event.seq for entry in cut}) == len(cut), "never between two entries of one event"


@pytest.mark.asyncio
@given(turns=turns)
async def test_a_newcomer_is_told_the_last_event_or_the_one_that_is_unfinished(turns: list[Turn]) -> None:
    entries = log_of(turns)
    rest = await start(Logged(entries), Logged(entries), KEY, [None])
    assert [entry.event.seq for entry in entries[rest.cursor :]] == [
        entry.event.seq for entry in entries if entry.event.seq == len(turns)
    ]
    busy = Logged(entries, waiting=True)
    assert (await start(busy, busy, KEY, [None])).cursor == len(entries)


@pytest.mark.asyncio
async def test_a_long_log_is_searched_and_not_read_through() -> None:
    store = Logged(log_of([(1, 0, 0)] * 5_000))
    assert (await start(store, store, KEY, [positions.live(2_500, 0, 0)])).cursor == 2_499
    assert store.reads <= 20


@pytest.mark.asyncio
async def test_what_was_removed_is_not_looked_for_and_a_mark_of_another_thread_begins_anew() -> None:
    entries = log_of([(1, 0, 0)] * 9)
    kept = Logged(entries, floor=5)
    assert (await start(kept, kept, KEY, [positions.live(2, 0, 0)])).cursor == 5
    assert (await start(kept, kept, KEY, [positions.live(1_000, 0, 0)])).cursor == 8


@pytest.mark.asyncio
@given(turns=turns)
async def test_open_questions_are_those_that_were_asked_since_the_last_answer_and_not_closed(turns: list[Turn]) -> None:
    entries = log_of(turns)
    store = Logged(entries)
    expected: list[str] = []
    for entry in entries:
        match entry.body:
            case SendMessage(waiting=False):
                expected.clear()
            case RequestInput(interrupt_id):
                expected.append(interrupt_id)
            case CloseQuestion(interrupt_id) if interrupt_id in expected:
                expected.remove(interrupt_id)
    assert list(await open_questions(store, store, KEY)) == expected
