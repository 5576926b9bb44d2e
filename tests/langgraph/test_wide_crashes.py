"""A crash at every place of conversations with graphs that fan out, nest and ask: each goes on as if nothing had been.

A place is where a node is entered, and either side of a commit. The next process has nothing but the store.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.langgraph.driving import Chat, Crash, ObservedAttempt, Store, reply
from tests.langgraph.wide_shapes import WIDE, asked_in_a_fan_out, fan_out, fan_out_of_subgraphs
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.memory.store import MemoryStore
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.events import EventBody, UserMessage
from unbroken.domain.policy import CommitMode
from unbroken.domain.session import Claim
from unbroken.domain.turn import Answer

pytestmark = pytest.mark.asyncio

SOME = 5
"""With PostgreSQL a process dies at each fifth place: what it stores is the memory store's, by the contracts."""


class Places:
    """Counts the places that were passed, and ends the process at one of them."""

    def __init__(self, dies_at: int | None) -> None:
        self.passed: list[str] = []
        self._dies_at = dies_at

    def enter(self, place: str) -> None:
        self.passed.append(place)
        if len(self.passed) - 1 == self._dies_at:
            raise Crash


class MortalAttempt(ObservedAttempt):
    places: Places

    async def commit_superstep(self, change: StateChange) -> None:
        self.places.enter("before a superstep's commit")
        await super().commit_superstep(change)
        self.places.enter("after a superstep's commit")


class Mortal(Chat):
    """A thread whose process dies at one place; what it was at is gone on with by the next one."""

    def __init__(self, shape: str, mode: CommitMode, store: Store | None = None, dies_at: int | None = None) -> None:
        self.places = Places(dies_at)
        super().__init__(WIDE[shape](self.places.enter), store=store, commit=mode)
        self.told: list[tuple[str, list[str]]] = []
        """Of each event, in order: what it was answered, and what it asked."""
        self.reborn_at = 0
        """How many places had been passed when the next process began."""

    def attempt(self, claim: Claim) -> ObservedAttempt:
        attempt = MortalAttempt(self.store, claim)
        attempt.places = self.places
        self.attempts.append(attempt)
        return attempt

    async def run(self, claim: Claim) -> Answer:
        answer: Answer | None = None
        try:
            answer = await self.work(claim)
            self.places.enter("before the finish")
            await self.finish(claim, answer)
            self.places.enter("after the finish")
        except Crash:
            self.reborn_at = len(self.places.passed)
            self.agent = LangGraphAgent(self.graph, self.store.checkpoints, commit=self.agent.commit)
            again = await self.store.sessions.claim(self.key.thread_id, replica=self._replica)
            if again is not None:
                answer = await super().run(again)
        assert answer is not None, "its event is ended, and nobody has come to an answer"
        self.told.append((answer.text, sorted(str(question.value) for question in answer.questions)))
        return answer

    async def converse(self) -> None:
        """Two messages, each with answers to all that is asked; then another message in the second one's place."""
        await self._answered("one", "event-1")
        await self._answered("two", "event-2")
        await self._answered(UserMessage("instead", replaces=self.requests["event-2"]), "event-3")

    async def _answered(self, said: EventBody | str, event_id: str) -> None:
        answer = await self.say(said, event_id)
        while answer.questions:
            question = answer.questions[-1]  # whoever answers in the order of asking proves less
            value = question.value if isinstance(question.value, str) else True
            answer = await self.say(reply(question.interrupt_id, value))

    async def left(self) -> dict[str, Any]:
        """The committed state, without the ids that are drawn anew for each run."""
        values = await self.values()
        return {**values, "messages": [(message.type, message.content) for message in values["messages"]]}


@pytest.mark.parametrize("mode", list(CommitMode))
@pytest.mark.parametrize("shape", WIDE)
async def test_a_crash_at_any_place_changes_nothing_of_what_is_said_and_kept(
    shape: str, mode: CommitMode, store: Store
) -> None:
    calm = Mortal(shape, mode)
    await calm.converse()
    places, told, left = calm.places.passed, calm.told, await calm.left()
    in_memory = isinstance(store, MemoryStore)
    for dies_at in range(0, len(places), 1 if in_memory else SOME):
        mortal = Mortal(shape, mode, None if in_memory else store, dies_at)
        await mortal.converse()
        where = f"after a crash at {places[dies_at]!r}, place {dies_at} of {places}"
        assert mortal.told == told, where
        assert await mortal.left() == left, where


async def repeated(shape: str, dies_in: str) -> list[str]:
    """The nodes that the next process enters for a message, where the first one died as it entered one of them."""
    calm = Mortal(shape, CommitMode.SUPERSTEP)
    await calm.say("one")
    mortal = Mortal(shape, CommitMode.SUPERSTEP, dies_at=calm.places.passed.index(dies_in))
    await mortal.say("one")
    assert mortal.told == calm.told
    return sorted(place for place in mortal.places.passed[mortal.reborn_at :] if "finish" not in place)


async def test_a_crash_in_mid_fan_out_repeats_the_fan_out_and_nothing_before_it() -> None:
    parts = ["part 0", "part 1", "part 2"]
    assert [place for place in await repeated(fan_out.__name__, "part 1") if "commit" not in place] == [
        "collect",
        *parts,
    ]
    assert await repeated(fan_out.__name__, "collect") == ["collect"]


async def test_a_crash_in_a_fan_out_of_subgraphs_repeats_them_from_their_beginning() -> None:
    found = await repeated(fan_out_of_subgraphs.__name__, "part 1")
    nodes = [f"{name} {number}" for name in ("part", "think") for number in range(3)]
    assert [place for place in found if "commit" not in place] == ["collect", *nodes]


@pytest.mark.parametrize("dies_in", ["part 0", "after the finish"])
async def test_what_finished_beside_a_question_is_not_repeated_by_its_answer(dies_in: str) -> None:
    shape, mode = asked_in_a_fan_out.__name__, CommitMode.SUPERSTEP
    calm = Mortal(shape, mode)
    await calm.say("one")
    chat = Mortal(shape, mode, dies_at=calm.places.passed.index(dies_in))
    asking = await chat.say("one")
    chat.places.passed.clear()
    for question in asking.questions:
        await chat.say(reply(question.interrupt_id, "yes"))
    assert "part 1" not in chat.places.passed
    assert chat.told[-1][0].endswith("part 0 yes; part 1; part 2 yes")
