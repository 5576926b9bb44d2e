"""The chat service that everybody writes first: it calls the agent where the socket is read, and sends what comes.

It is given everything that such a service does not have, numbers, receipts and a log; so whatever the checker then
finds is what the agent's saver lost.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from tests.checker.check import violations_of
from tests.checker.history import Call, Fault, History, Line, Tables, Violation, sockets_of
from tests.checker.story import effect, event, final, frame, opened, reset, sent, token, user
from tests.langgraph.stock import StockChat


class DirectSend:
    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = [opened(cursor="0", userId="ann")]
        self._said: list[str] = []
        self._effects: list[dict[str, Any]] = []
        self._calls: list[Call] = []
        self._faults: list[Fault] = []

    def hear(self, text: str) -> int:
        """A message arrives; returns its number."""
        self._said.append(text)
        seq = len(self._said)
        self._lines += [
            sent("message", requestId=f"r{seq}", content=text),
            frame("accepted", f"r{seq}", seq=seq, duplicate=False),
            user(f"r{seq}", seq, content=text),
        ]
        return seq

    async def answer(self, seq: int, chat: StockChat, *, heard: bool = True, with_id: bool = True) -> None:
        """`heard`: there is still somebody at the other end. `with_id`: the graph's message is named by its event."""
        run = len(self._calls) + 1
        self._calls.append(Call("t", f"e{seq}", run, len(self._lines)))
        message = HumanMessage(self._said[seq - 1], id=f"e{seq}" if with_id else None)
        stream = chat.graph.astream({"messages": [message]}, chat.config, stream_mode="messages", durability="sync")
        text = "".join([str(part.content) async for part, _ in stream if isinstance(part, AIMessage)])
        if heard:
            cursor = len(self._effects) + 1
            self._effects.append(effect(seq, 0, cursor, "send_message", text=text, attempt=run))
            self._lines += [reset(f"r{seq}", run), token(f"r{seq}", run, 0, text)]
            self._lines.append(final(f"r{seq}", cursor, run, text))

    def fail(self, kind: str) -> None:
        """Something is done to it, which costs it at most one attempt."""
        self._faults.append(Fault(kind, len(self._lines), len(self._lines), costs_attempts=True))

    async def judged(self, chat: StockChat) -> list[Violation]:
        """What the checker says, given that the service takes every event for finished."""
        lines = [
            Line(row["kind"], at=float(at), query=row.get("query", {}), frame=row.get("frame", {}))
            for at, row in enumerate(self._lines)
        ]
        seq = len(self._said)
        session = {"thread_id": "t", "user_id": "ann", "agent_id": "demo", "applied_seq": seq, "head_event": seq}
        rows = {
            "sessions": [session | {"log_index": len(self._effects), "run": len(self._calls)}],
            "events": [event(seq, f"r{seq}", content=text) for seq, text in enumerate(self._said, 1)],
            "effects": self._effects,
            "state_messages": {"t": await self._messages(chat)},
        }
        sockets = sockets_of("tab", lines)
        watched = frozenset({"tab"})
        return violations_of(History(sockets, Tables.of(rows), self._calls, self._faults, watched_to_the_end=watched))

    async def _messages(self, chat: StockChat) -> list[str]:
        """Ids in the state, a user's message as the event that said it: its own id may not have been kept."""
        spoken = await chat.spoken()
        return [f"e{self._said.index(text) + 1}" if kind == "human" else f"m:{text}" for kind, text in spoken]
