"""What a session says, as protocol events: one reader's view, from its deliveries. No I/O, no clock of its own.

A reader is told everything from the beginning of an attempt or of an event's end, in order; whoever has seen some of
it already is spared that by `seq` alone. So what is told never depends on who asks, nor on when.

    the attempt begins     (what another one left open breaks off) · lifecycle running · (values, if not the first)
    it streams             messages, tools, custom … as they come; text of what chat clients follow becomes messages
    it ends the event      input.answered · messages and tools that were not told · values · input.requested (what it
                           asks, then what it has left open) · lifecycle completed, failed or interrupted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from unbroken.application.deliveries import (
    Delivery,
    ShowGap,
    ShowLogged,
    ShowReset,
    ShowStep,
    ShowText,
    ShowTool,
    ShowUser,
)
from unbroken.domain.effects import CancelTurn, CloseQuestion, LogEntry, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import RunStart
from unbroken.domain.policy import own_question_id
from unbroken.domain.stream_parts import BETWEEN_MESSAGES, TextPart, ToolPart
from unbroken.domain.utf16 import cut, units
from unbroken.entrypoints.agent_protocol import blocks, positions, steps
from unbroken.entrypoints.agent_protocol.blocks import Piece
from unbroken.entrypoints.agent_protocol.wire import Event, EventParams
from unbroken.entrypoints.langgraph_api.run_events import failure

STATE: Final = msgspec.Raw(b"null")
"""In place of a `values` event's data: the committed state, which whoever sends it has to read."""
MENDED: Final = "the attempt at this answer ended early; another one has begun"
_RUNNING: Final = 62
_VALUES: Final = 63
_MAX_VOIDED: Final = _RUNNING
_STEP: Final = 6
"""As `sub` of a step: before it, subgraphs that begin with it."""


class Narrator:
    """Not to be shared between readers. Holds the text of the one message that is open, by reference."""

    def __init__(self, graph_name: str, now_ms: Callable[[], int], *, seen: Iterable[int] = ()) -> None:
        """`seen`: the highest `seq` that the reader has seen, one for each of its subscriptions: so that text is cut
        there, however its parts are, and what was shown in vain can break off."""
        self._graph_name = graph_name
        self._now_ms = now_ms
        self._seen = frozenset(seen)
        self._events: dict[str, tuple[str, bool]] = {}
        """Request id → run id and whether it is rich, of events that have not ended."""
        self._attempt = 0
        self._run_id = ""
        self._rich = False
        self._told: set[str] = set()
        """Parts of this attempt."""
        self._open: dict[str, None] = {}
        """Messages that have begun."""
        self._speaking: str | None = None
        """Whose text streams, as chat clients follow it."""
        self._texts: list[str] = []
        self._tools: dict[str, None] = {}
        """Calls that have no result yet."""
        self._namespaces: dict[tuple[str, ...], None] = {}
        """Of subgraphs that were seen at work, and not at their end."""
        self._ending = _Ending(0)
        self._gave_values = False

    def tell(self, delivery: Delivery, left_open: Sequence[RequestInput] = ()) -> list[Event]:
        """`left_open`: where an answer waits, the questions of earlier turns that it has left open."""
        match delivery:
            case ShowText(_, attempt, part, sides):
                return [] if self._rich else list(self._text(attempt, part, sides))
            case ShowStep(_, attempt, part, sides):
                return list(self._step(steps.of(part, rich=self._rich), attempt, part.offset + sides))
            case ShowTool(_, attempt, part, sides):
                return [] if self._rich else list(self._tool(attempt, part, sides))
            case ShowLogged(entry):
                return list(self._logged(entry, left_open))
            case ShowReset(request_id, attempt):
                return [*self.flush(), *self._begin(request_id, attempt, again=delivery.voids)]
            case ShowUser(event):
                body = event.body
                self._events[event.request_id] = (event.id, isinstance(body, RunStart) and body.rich)
                return []
            case ShowGap():
                return []

    def flush(self) -> list[Event]:
        """Nothing more of the log comes for now: all questions of an event that asks were told."""
        if not self._ending.asks:
            return []
        self._ending.asks = False
        again = [self._requested(question, self._ending) for question in self._ending.left_open]
        return [*again, self._lifecycle(positions.ended(self._ending.attempt, positions.INTERRUPTED), "interrupted")]

    def _requested(self, question: RequestInput, ending: _Ending) -> Event:
        own_id = own_question_id(question.interrupt_id)
        data = {"interrupt_id": own_id, "payload": question.value, "value": question.value}
        return self._event(ending.next_question(), self._synth(f"input||{own_id}"), "input.requested", data)

    def _begin(self, request_id: str, attempt: int, *, again: bool) -> Iterable[Event]:
        seen_in_vain = self._seen_in_vain(attempt)
        yield from self._voided(attempt, seen_in_vain)
        self._enter(request_id, attempt)
        yield self._running(positions.began(attempt, _RUNNING))
        if again or seen_in_vain:
            yield self._event(positions.began(attempt, _VALUES), f"{attempt}.values", "values", STATE)

    def _seen_in_vain(self, attempt: int) -> bool:
        """Whether the reader comes from an attempt before this one that did not end its event."""
        return self._attempt == 0 and any(
            0 < positions.attempt_of(seen) < attempt and not positions.is_ended(seen) for seen in self._seen
        )

    def _voided(self, attempt: int, seen_in_vain: bool) -> Iterable[Event]:
        pieces = [*self._left_open(MENDED), *([blocks.broke_off(None, MENDED)] if seen_in_vain else [])]
        for n, piece in enumerate(pieces[:_MAX_VOIDED]):
            event_id = f"{attempt}.void.{piece.part}"
            yield self._event(positions.began(attempt, n), event_id, piece.method, piece.data)

    def _enter(self, request_id: str, attempt: int) -> None:
        self._attempt = attempt
        self._run_id, self._rich = self._events.get(request_id, (request_id, False))
        self._told.clear()
        self._namespaces.clear()
        self._gave_values = False
        self._forget()

    def _forget(self) -> None:
        self._open.clear()
        self._speaking = None
        self._texts.clear()
        self._tools.clear()

    def _left_open(self, why: str) -> Iterable[Piece]:
        for message_id in self._open:
            yield blocks.broke_off(message_id, why)
        for tool_call_id in self._tools:
            yield blocks.tool_ended(tool_call_id, why, failed=True)

    def _running(self, seq: int) -> Event:
        event_id = f"synth:{self._run_id}:lc||running|{self._attempt}"
        return self._event(seq, event_id, "lifecycle", {"event": "running", "graph_name": self._graph_name})

    def _text(self, attempt: int, part: TextPart, sides: int) -> Iterable[Event]:
        begin = part.offset + sides
        text, ahead = part.text, 0
        pieces: list[Piece] = []
        if self._speaking != part.message_id:
            pieces += self._close_text()
            pieces += (blocks.started(part.message_id), blocks.block_started(part.message_id, 0, _text("")))
            self._speaking = part.message_id
            self._open[part.message_id] = None
            if part.offset and text.startswith(BETWEEN_MESSAGES):
                ahead = units(BETWEEN_MESSAGES)
                text = text.removeprefix(BETWEEN_MESSAGES)
        self._texts.append(text)
        yield from self._live(pieces, attempt, begin)
        length = ahead + units(text)
        cuts = {positions.text_seen(seen, attempt, begin, begin + length) for seen in self._seen} - {0, length}
        for seen in sorted(cuts):
            rest = cut(text, max(0, seen - ahead))
            if piece := text[: len(text) - len(rest)]:
                yield self._delta(part.message_id, positions.text(attempt, begin + seen), piece)
            text, ahead = rest, ahead + units(piece)
        if text:
            yield self._delta(part.message_id, positions.text(attempt, begin + length), text)

    def _delta(self, message_id: str, seq: int, text: str) -> Event:
        data = {
            "event": "content-block-delta",
            "index": 0,
            "delta": {"type": "text-delta", "text": text},
            "message_id": message_id,
        }
        return self._event(seq, str(seq), "messages", data)

    def _close_text(self) -> Iterable[Piece]:
        message_id, self._speaking = self._speaking, None
        if message_id is not None:
            del self._open[message_id]
            yield blocks.block_finished(message_id, 0, _text("".join(self._texts)))
            yield blocks.finished(message_id)
        self._texts.clear()

    def _tool(self, attempt: int, part: ToolPart, sides: int) -> Iterable[Event]:
        if part.phase == "started":
            self._tools[part.tool_call_id] = None
            piece = blocks.tool_started(part.tool_call_id, part.name, steps.parsed(part.data))
        else:
            self._tools.pop(part.tool_call_id, None)
            piece = blocks.tool_ended(part.tool_call_id, part.data, failed=part.phase == "failed")
        yield from self._live([piece], attempt, part.offset + sides, part.namespace)

    def _step(self, told: Iterable[steps.Step], attempt: int, place: int) -> Iterable[Event]:
        for step in told:
            seq = positions.live(attempt, place, _STEP)
            if step.opens:
                yield from self._subgraphs(attempt, place, step.namespace)
            self._follow(step)
            event_id = str(seq) if step.part is None else f"{attempt}.{step.part}"
            yield self._event(seq, event_id, step.method, step.data, step.namespace, node=step.node)

    def _follow(self, step: steps.Step) -> None:
        if step.part is not None:
            self._told.add(step.part)
        if step.method == "values" and not step.namespace:
            self._gave_values = True
        for opened, change in ((self._open, step.message), (self._tools, step.tool)):
            if change is not None:
                name, is_open = change
                if is_open:
                    opened[name] = None
                else:
                    opened.pop(name, None)

    def _subgraphs(self, attempt: int, place: int, namespace: tuple[str, ...]) -> Iterable[Event]:
        paths = (namespace[:length] for length in range(1, len(namespace) + 1))
        unseen = [path for path in paths if path not in self._namespaces]
        for sub, path in enumerate(unseen[:_STEP]):
            self._namespaces[path] = None
            yield self._lifecycle(positions.live(attempt, place, sub), "started", path)

    def _live(
        self, pieces: Iterable[Piece], attempt: int, place: int, namespace: tuple[str, ...] = ()
    ) -> Iterable[Event]:
        for sub, piece in enumerate(pieces):
            self._told.add(piece.part)
            seq = positions.live(attempt, place, sub)
            yield self._event(seq, f"{attempt}.{piece.part}", piece.method, piece.data, namespace)

    def _logged(self, entry: LogEntry, left_open: Sequence[RequestInput]) -> Iterable[Event]:
        if self._ending.event_seq != entry.event.seq:
            yield from self.flush()
            self._ending = _Ending(entry.event.seq)
        ending = self._ending
        match entry.body:
            case CloseQuestion(interrupt_id):
                ending.answered.append(own_question_id(interrupt_id))
            case RequestInput() as question:
                yield self._requested(question, ending)
            case SendMessage() as body:
                ending.left_open = left_open
                yield from self._ended(entry, body.attempt, ending)
                for piece in blocks.finished_turn(body.content, body.token_usage):
                    yield from self._missing(piece, ending)
                yield from self._closing(entry, ending, None if body.waiting else "completed")
            case CancelTurn(text, attempt):
                yield from self._ended(entry, attempt, ending)
                for piece in self._close_text() if text else self._left_open("cancelled"):
                    yield from self._missing(piece, ending)
                yield from self._closing(entry, ending, "interrupted")
            case ReportFailure(attempt=attempt) as body:
                message = failure(body)["message"]
                yield from self._ended(entry, attempt, ending)
                for piece in self._left_open(message):
                    yield from self._missing(piece, ending)
                yield from self._closing(entry, ending, "failed", message)

    def _ended(self, entry: LogEntry, attempt: int, ending: _Ending) -> Iterable[Event]:
        ending.attempt = attempt
        ending.now_ms = self._now_ms()
        if self._attempt != attempt:  # nothing of this attempt was told here
            if isinstance(entry.body, SendMessage):
                ending.now_ms = round(entry.event.created_at.timestamp() * 1000) + entry.body.latency_ms
            yield from self._voided(attempt, self._seen_in_vain(attempt))
            self._events.setdefault(entry.event.request_id, (entry.event.id, False))
            self._enter(entry.event.request_id, attempt)
            yield self._running(positions.began(attempt, _RUNNING))
        self._run_id = entry.event.id
        if ending.answered:
            data = {"interrupt_ids": list(ending.answered)}
            yield self._event(ending.next(), self._synth("answered"), "input.answered", data)

    def _missing(self, piece: Piece, ending: _Ending) -> Iterable[Event]:
        seq = ending.next()
        if piece.part not in self._told:
            self._told.add(piece.part)
            yield self._event(seq, f"{self._attempt}.{piece.part}", piece.method, piece.data)

    def _closing(
        self, entry: LogEntry, ending: _Ending, status: str | None, error: str | None = None
    ) -> Iterable[Event]:
        """`status` None: the event asks, and its questions follow."""
        if not (self._gave_values and isinstance(entry.body, SendMessage)):
            seq = positions.ended(ending.attempt, positions.VALUES)
            yield self._event(seq, f"{self._attempt}.values.end", "values", STATE)
        for number, path in enumerate(sorted(self._namespaces, key=len, reverse=True), positions.NAMESPACES):
            yield self._lifecycle(positions.ended(ending.attempt, number), "completed", path)
        self._namespaces.clear()
        self._events.pop(entry.event.request_id, None)
        self._forget()
        if status is None:
            ending.asks = True
        else:
            yield self._lifecycle(positions.ended(ending.attempt, positions.INTERRUPTED), status, error=error)

    def _synth(self, part: str) -> str:
        """Clients read the run's id from such an id."""
        return f"synth:{self._run_id}:{part}"

    def _lifecycle(self, seq: int, status: str, namespace: tuple[str, ...] = (), *, error: str | None = None) -> Event:
        name = namespace[-1].partition(":")[0] if namespace else self._graph_name
        data = {"event": status, "graph_name": name} | ({} if error is None else {"error": error})
        where = "|".join(namespace)
        again = f"|{self._attempt}" if namespace else ""
        return self._event(seq, self._synth(f"lc|{where}|{status}{again}"), "lifecycle", data, namespace)

    def _event(
        self,
        seq: int,
        event_id: str,
        method: str,
        data: Any,
        namespace: tuple[str, ...] = (),
        *,
        node: str | None = None,
    ) -> Event:
        at = self._ending.now_ms if positions.is_ended(seq) and self._ending.now_ms else self._now_ms()
        return Event(event_id, seq, method, EventParams(namespace, at, data, msgspec.UNSET if node is None else node))


class _Ending:
    """How one event ends, as far as it was read from the log."""

    def __init__(self, event_seq: int) -> None:
        self.event_seq = event_seq
        self.attempt = 0
        self.now_ms = 0
        self.answered: list[str] = []
        self.asks = False
        self.left_open: Sequence[RequestInput] = ()
        """Behind what it asks itself: these are told for clients that look at one run, each of which begins with no
        question."""
        self._count = 0
        self._questions = 0

    def next(self) -> int:
        self._count += 1
        return positions.ended(self.attempt, self._count)

    def next_question(self) -> int:
        self._questions += 1
        return positions.ended(self.attempt, positions.QUESTIONS + self._questions)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
