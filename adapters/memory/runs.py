from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from unbroken.adapters.memory.encoding import decode_effect
from unbroken.adapters.memory.tables import Effect, Session
from unbroken.adapters.memory.threads import owned
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import UnknownRequest
from unbroken.domain.events import InputResponse, RunStart
from unbroken.domain.policy import asking_seq
from unbroken.domain.ports.runs import WITHIN, Runs
from unbroken.domain.runs import ENDS, NO_RUNS, Run, RunState, state_of


class MemoryRuns(Runs):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: str, thread_id: str, run_id: str) -> Run:
        def step(transaction: Transaction) -> Run:
            for run in _newest_first(owned(transaction, user_id, thread_id)):
                if run.id == run_id:
                    return run
            raise UnknownRequest(run_id)

        return await self._database.run("run", step)

    async def page(
        self, user_id: str, thread_id: str, *, state: RunState | None = None, offset: int = 0, limit: int
    ) -> Sequence[Run]:
        def step(transaction: Transaction) -> list[Run]:
            runs = _newest_first(owned(transaction, user_id, thread_id))
            return list(islice((run for run in runs if state in (None, run.state)), offset, offset + limit))

        return await self._database.run("runs", step)

    async def unfinished(self, user_id: str, *, limit: int) -> Sequence[Run]:
        def step(transaction: Transaction) -> list[Run]:
            mine = (s for _, s in sorted(transaction.sessions.items()) if s.key.user_id == user_id and not s.deleted)
            waiting = (_runs(s, range(s.applied_seq + 1, s.last_seq + 1)) for s in mine)
            return list(islice(chain.from_iterable(waiting), limit))

        return await self._database.run("unfinished_runs", step)

    async def asking(self, thread_id: str, seq: int) -> RunStart | None:
        def step(transaction: Transaction) -> RunStart | None:
            session, at = transaction.sessions.get(thread_id), seq
            while session is not None and not session.deleted and 0 < at <= session.last_seq:
                body = session.event(at).body
                if not isinstance(body, InputResponse):
                    return body if isinstance(body, RunStart) else None
                asked = asking_seq(body.interrupt_id)
                at = asked if asked < at else 0
            return None

        return await self._database.run("asking_run", step)

    async def latest_start(self, thread_id: str, *, below: int | None = None) -> RunStart | None:
        def step(transaction: Transaction) -> RunStart | None:
            session = transaction.sessions.get(thread_id)
            if session is None or session.deleted:
                return None
            end = session.last_seq + 1 if below is None else min(below, session.last_seq + 1)
            bodies = (session.event(seq).body for seq in range(end - 1, max(0, end - 1 - WITHIN), -1))
            return next((body for body in bodies if isinstance(body, RunStart)), None)

        return await self._database.run("latest_start", step)


def _newest_first(session: Session) -> Iterator[Run]:
    return _runs(session, range(session.last_seq, 0, -1))


def _runs(session: Session, seqs: Sequence[int]) -> Iterator[Run]:
    ends: dict[int, Effect] = {}
    for row in session.effects.values():
        if row.type in ENDS:
            ends.setdefault(row.event_seq, row)
    return filter(None, (_run(session, seq, ends.get(seq)) for seq in seqs))


def _run(session: Session, seq: int, end: Effect | None) -> Run | None:
    event = session.event(seq)
    if str(event.body.__struct_config__.tag) in NO_RUNS:
        return None
    body = None if end is None else decode_effect(end.body)
    running = session.tries > 0 and seq == session.applied_seq + 1
    state = state_of(body, running=running)
    if state is None:
        return None
    code = getattr(body, "code", None)
    return Run(
        id=event.id,
        thread_id=session.key.thread_id,
        agent_id=session.key.agent_id,
        seq=seq,
        request_id=event.request_id,
        body=event.body,
        created_at=event.created_at,
        state=state,
        ended_at=None if end is None else end.created_at,
        attempt=getattr(body, "attempt", None) if end is not None else session.run if running else None,
        checkpoint_id=(end.checkpoint_id or None) if end is not None else None,
        log_index=None if end is None else end.log_index,
        code=code,
        message=getattr(body, "message", None) if code is not None else None,
    )
