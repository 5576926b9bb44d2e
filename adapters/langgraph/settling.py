"""The history of an attempt that ended without an answer, made whole: models accept what follows, and nothing is lost
of what the user has read."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage

from unbroken.adapters.langgraph.conversing import takes_messages
from unbroken.adapters.langgraph.history import Graph, History, kept_by, place_before, until
from unbroken.adapters.langgraph.inputs import messages_of, own_ids
from unbroken.adapters.langgraph.messages import spoken
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.stream_parts import join_messages
from unbroken.domain.turn import Settled, Settling

REASONS = {
    "cancelled": "This call was not finished: the user stopped it.",
    "failed": "This call was not finished: the turn failed.",
}


async def settled(graph: Graph, checkpoints: Checkpoints, settling: Settling) -> Settled:
    claim, event = settling.claim, settling.claim.event
    shown = [(message_id, text) for message_id, text in settling.texts if text.strip()]
    moved = claim.resumes or settling.head != claim.head
    if not shown and not moved:
        return Settled(StateChange(), _as_shown("", settling))
    saver = StagingSaver(checkpoints, claim.key.thread_id, head=settling.head)
    base = place_before(claim, settling.fork)
    if settling.fork is not None and not moved:
        saver.start_from(settling.fork)
    configurable = {"thread_id": claim.key.thread_id, "user_id": claim.key.user_id}
    history = History(kept_by(graph, saver), {"configurable": configurable})
    before = frozenset(str(message.id) for message in await history.messages(base)) if base else frozenset()
    await history.close_calls(REASONS[settling.reason])
    messages = await history.messages()
    if base is None:
        before = frozenset(until(messages, own_ids(event)))
    own = [message for message in messages_of(event) if not _holds(messages, message.id)]
    partial = [
        AIMessage(text.rstrip(), id=message_id, response_metadata={"stop_reason": settling.reason})
        for message_id, text in unsaid(shown, _added(messages, before | own_ids(event)))
    ]
    if takes_messages(graph):
        await history.append([*own, *partial])
    said = [spoken(message) for message in _added(await history.messages(), before | own_ids(event))]
    return Settled(saver.take(), _as_shown(join_messages(said), settling))


def _as_shown(text: str, settling: Settling) -> str:
    """What the reader keeps: nothing that he has read changes because he stopped it, whatever whitespace a model must
    not be given and whatever a node has made of its model's words. What the history holds beyond that is added."""
    shown = join_messages([text for _, text in settling.texts])
    return text if text.startswith(shown.rstrip()) and shown.split() != text.split() else shown


def unsaid(shown: Sequence[tuple[str, str]], added: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    """What was shown and none of these messages holds, whatever id it was streamed under: a message may have
    another in the state."""
    held = {str(message.id) for message in added}
    streamed = {message_id for message_id, _ in shown}
    said = join_messages([spoken(message) for message in added if str(message.id) not in streamed])
    missing = []
    for message_id, text in shown:
        if message_id in held:
            continue
        place = said.find(text.strip())
        if place >= 0:
            said = said[place + len(text.strip()) :]
        else:
            missing.append((message_id, text))
    return missing


def _holds(messages: Sequence[BaseMessage], message_id: str | None) -> bool:
    return any(message.id == message_id for message in messages)


def _added(messages: Sequence[BaseMessage], others: frozenset[str]) -> list[BaseMessage]:
    return [message for message in messages if str(message.id) not in others]
