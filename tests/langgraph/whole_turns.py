"""Turns of real graphs that end as the application ends them, without a server around."""

from __future__ import annotations

from uuid import uuid4

from tests.application.scripted_agent import OneAgent
from tests.application.world import RETRY, LeaseInHand
from tests.langgraph.driving import Chat
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.in_process.hub import Hub
from unbroken.application.live_sessions import LiveSessions
from unbroken.application.session_processor import SessionProcessor
from unbroken.application.turn_end import TurnEnd
from unbroken.domain.effects import LogEntry, SendMessage
from unbroken.domain.events import EventBody


class Whole:
    """A chat whose turns end as the application ends them."""

    def __init__(self, chat: Chat) -> None:
        store, clock = chat.store, SystemClock()
        self.chat = chat
        self.live = LiveSessions(store.sessions, LeaseInHand())
        agents = OneAgent(chat.agent)
        end = TurnEnd(
            agents=agents,
            sessions=store.sessions,
            unit_of_work=store.unit_of_work,
            live=self.live,
            clock=clock,
            wakeups=Hub(carry=lambda deliver: None).join(1),
            new_id=lambda: uuid4().hex,
            on_effects=lambda: None,
        )
        self.processor = SessionProcessor(
            agents=agents,
            sessions=store.sessions,
            unit_of_work=store.unit_of_work,
            live=self.live,
            end=end,
            clock=clock,
            retry=RETRY,
            turn_limit_s=60.0,
        )

    async def say(self, body: EventBody | str = "hello") -> list[LogEntry]:
        """The entries of the event's end."""
        claim = await self.chat.accept(body)
        assert await self.processor.process(claim) is None
        return list(await self.chat.store.outbox.read(self.chat.key.thread_id, after=claim.log_index, limit=10))

    async def answer(self, body: EventBody | str = "hello") -> SendMessage:
        (entry,) = await self.say(body)
        assert isinstance(entry.body, SendMessage)
        return entry.body
