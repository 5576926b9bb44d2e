"""What a session says of one run, as the events that LangGraph's REST clients read from a run's stream.

Sans I/O: deliveries in, events out. Every id says where in the attempt's stream its event comes from, the same on every
replica, and a reader that names the last one it has is given what follows: the attempt is read from its beginning
again, because some events are made of all that came before them, and what the reader has is left out. Chunks are added
up by their readers, also over the attempts of a run: so an id says which messages were told before it, too, and one
that an attempt has committed before it was lost is not told again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from unbroken.application.deliveries import Delivery, ShowReset, ShowStep, ShowText
from unbroken.domain.effects import CancelTurn, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import Event, RunStart
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.policy import own_question_id
from unbroken.domain.stream_parts import BETWEEN_MESSAGES, StepPart, TextPart
from unbroken.domain.utf16 import cut, units
from unbroken.entrypoints.langgraph_api.message_chunks import Message, Messages, Said

END: Final = 1 << 40
"""The position of what is made of the log: behind everything that was live."""
BEGINS: Final = 7
"""The number of the event with which a message begins, at the position where its first part starts: whoever has no more
than that is given the part."""
BREAKPOINT: Final = "breakpoint:"
"""How the ids of questions begin that stand for one."""
_ID: Final = re.compile(
    r"([0-9]{1,18})-(?:([0-9]{1,12})|(end))-([0-9]{1,6})(?:-([0-9a-f]{8})\.([0-9]{1,9}))?(?:-([0-9a-f]{8}))?", re.ASCII
)
_INTERRUPT: Final = "__interrupt__"
_INTERRUPTS: Final = b'"__interrupt__"'
_AS_THEY_ARE: Final = frozenset({"values", "updates", "custom", "checkpoints", "tasks"})
_TYPED: Final = re.compile(r"([A-Za-z_]\w*): (.*)", re.DOTALL)

Ended = SendMessage | CancelTurn | ReportFailure


class Seen(Struct, frozen=True, order=True):
    """Which event of a thread's runs a reader has. They grow in this order."""

    attempt: int
    position: int = 0
    """In the attempt's stream (`stream_parts.Place`): behind the part that the event was made of; END: of the log."""
    sub: int = 0
    """Which of the events that were made of that part."""
    message: str = ""
    """What tells the message that it is about from others; empty: about none."""
    text: int = 0
    """UTF-16 units of that message's text that the reader has."""
    kept: str = ""
    """What tells the message that was whole last: if the attempt is lost behind it, it stays, and is not told again."""

    def __str__(self) -> str:
        place = f"{self.attempt}-{'end' if self.position == END else self.position}-{self.sub}"
        about = f"-{self.message}.{self.text}" if self.message else ""
        return f"{place}{about}-{self.kept}" if self.kept not in ("", self.message) else place + about

    @classmethod
    def parse(cls, text: str) -> Seen | None:
        """The inverse of `str`; None: no id of ours."""
        found = _ID.fullmatch(text)
        if found is None:
            return None
        attempt, position, end, sub, message, shown, kept = found.groups()
        place = END if end else int(position)
        return cls(int(attempt), place, int(sub), message or "", int(shown or 0), kept or "")


NOTHING: Final = Seen(0)


class RunEvent(Struct, frozen=True):
    event: str
    data: bytes
    """JSON."""
    id: str


class RunEvents:
    """One reader's view of one run.

    `modes`: LangGraph's stream modes, `messages-tuple` among them. `about`: what each message is told to belong to.
    """

    def __init__(
        self,
        run: Event,
        modes: Collection[str],
        *,
        subgraphs: bool = False,
        after: Seen = NOTHING,
        about: dict[str, Any] | None = None,
    ) -> None:
        self._run = run
        self._rich = isinstance(run.body, RunStart) and run.body.rich
        self._modes = frozenset(modes)
        self._subgraphs = subgraphs
        self._after = after
        self._about = about or {}
        self._attempt = 0
        self._messages = Messages(self._about)
        self._step: int | None = None
        self._said: Message | None = None
        """The root's message that grew last: what is told behind it says how much of it was told, too."""
        self._said_before = after.message, after.text
        """The same of earlier attempts: mark and units."""
        self._kept = after.kept
        self._had_before: dict[str, int] = {}
        """By message, how much of it earlier attempts have told here: what they have committed is not told again."""
        self._told: set[str] = set()
        """Which of `values` and interrupts the attempt has told itself."""

    @property
    def seq(self) -> int:
        """Of the run's event."""
        return self._run.seq

    def wants_state(self, delivery: Delivery) -> bool:
        """Whether `take` is to be given the committed state: an attempt begins that voids what another has shown."""
        return (
            isinstance(delivery, ShowReset)
            and delivery.request_id == self._run.request_id
            and delivery.voids
            and "values" in self._modes
        )

    def wants_end(self, end: Ended) -> bool:
        """Whether `ends` is to be given the committed state: the attempt did not tell it."""
        told = end.attempt == self._attempt and "values" in self._told
        return "values" in self._modes and not isinstance(end, ReportFailure) and not told

    def take(self, delivery: Delivery, state: bytes | None = None) -> list[RunEvent]:
        """`state`: the committed values as JSON, where `wants_state` asked for them."""
        match delivery:
            case ShowReset(request_id, attempt) if request_id == self._run.request_id:
                return self._begins(attempt, state)
            case ShowText(request_id, attempt, part, sides) if request_id == self._run.request_id and not self._rich:
                return list(self._text(attempt, part, sides))
            case ShowStep(request_id, attempt, part, sides) if request_id == self._run.request_id:
                return self._new(Seen(attempt, part.offset + sides + 1), self._stepped(part))
        return []

    def ends(self, end: Ended, questions: Sequence[RequestInput], state: bytes | None) -> list[RunEvent]:
        """The run has ended. `state`: the values that its end has committed, where `wants_end` asked for them."""
        made: list[RunEvent] = []
        place, number = Seen(end.attempt, END), 1
        if isinstance(end, SendMessage):
            made, number = self._rest(end), 1 + 2 * len(end.content)
        if isinstance(end, ReportFailure):
            made += self._new(place, [("error", msgspec.json.encode(failure(end)))], number)
        asked = [] if end.attempt == self._attempt and _INTERRUPT in self._told else interrupts(questions)
        if asked and "updates" in self._modes:
            made += self._new(place, [("updates", msgspec.json.encode({_INTERRUPT: asked}))], number + 1)
        if state is not None and "values" in self._modes:
            made += self._new(place, [("values", with_interrupts(state, asked))], number + 2)
        return made

    def _begins(self, attempt: int, state: bytes | None) -> list[RunEvent]:
        self._enter(attempt)
        self._told = set()
        self._step = None
        events = [("metadata", msgspec.json.encode({"run_id": self._run.id, "attempt": attempt}))]
        if state is not None:
            events.append(("values", state))
        return self._new(Seen(attempt), events)

    def _enter(self, attempt: int) -> None:
        if self._said is not None:
            self._said_before = _mark(self._said.id), self._said.units
        self._had_before |= self._messages.told()
        self._messages = Messages({**self._about, "run_attempt": attempt})
        self._attempt, self._said = attempt, None

    def _new(
        self, place: Seen, events: Iterable[tuple[str, bytes] | tuple[str, bytes, Message]], first: int = 1
    ) -> list[RunEvent]:
        """Those of them that the reader does not have."""
        made: list[RunEvent] = []
        for sub, (name, data, *of) in enumerate(events, first):
            seen = replace(place, sub=sub)
            if (seen.attempt, seen.position, sub) > (self._after.attempt, self._after.position, self._after.sub):
                about = of[0] if of else self._said
                mark, shown = self._said_before if about is None else (_mark(about.id), about.units)
                made.append(RunEvent(name, data, str(replace(seen, message=mark, text=shown, kept=self._kept))))
        return made

    def _text(self, attempt: int, part: TextPart, sides: int) -> Iterator[RunEvent]:
        """Of a run that records its text only. What the reader has of a part is cut off, and still counts for what is
        made of the whole message."""
        start = part.offset + sides
        if self._said is not None and self._said.id != part.message_id:
            self._kept = _mark(self._said.id)
        had = max(self._before(part), self._after.position - start if self._after.attempt == attempt else 0)
        rest = cut(part.text, had) if had > 0 else part.text
        if len(rest) < len(part.text):
            own = self._own(part, part.text[: len(part.text) - len(rest)])
            self._said = self._messages.text(part.message_id, own).message
        if rest:
            said = self._messages.text(part.message_id, self._own(part, rest))
            begun, more = self._begun(said), self._chunk(said)
            yield from self._new(Seen(attempt, start), begun, BEGINS)
            yield from self._new(Seen(attempt, start + units(part.text)), more)

    def _before(self, part: TextPart) -> int:
        """How much of a part the reader has of earlier attempts: text that was committed opens the next one, too."""
        id_, after = part.message_id, self._after
        told = self._had_before.get(id_, 0)
        if 0 < after.attempt <= self._attempt and _mark(id_) in (after.message, after.kept):
            told = max(told, MAX_UNITS if _mark(id_) == after.kept else after.text)
        if not told:
            return 0
        between = len(part.text) - len(self._own(part, part.text))
        return max(0, told - self._messages.told().get(id_, 0)) + between

    def _own(self, part: TextPart, text: str) -> str:
        """Without what stands between the message and the one before."""
        return text if self._messages.knows(part.message_id) else text.removeprefix(BETWEEN_MESSAGES)

    def _stepped(self, step: StepPart) -> Iterator[tuple[str, bytes] | tuple[str, bytes, Message]]:
        if step.data is None or (step.namespace and not self._subgraphs):
            return
        where = "|".join(("", *step.namespace))
        if step.method == "messages":
            if said := self._messages.event(step.namespace, msgspec.json.decode(step.data)):
                yield from self._begun(said)
                yield from self._chunk(said, where)
            return
        if step.method == "message":
            yield from self._returned(msgspec.json.decode(step.data), where)
            return
        asks = _INTERRUPTS in step.data
        if step.method in self._modes & _AS_THEY_ARE:
            yield step.method + where, step.data
        if not step.namespace and step.method in ("values", "updates"):
            self._told |= {step.method, *([_INTERRUPT] if asks else [])}
            if step.method == "values" and self._said is not None:
                self._kept = _mark(self._said.id)
        if "debug" in self._modes and step.method in ("checkpoints", "tasks"):
            yield "debug" + where, self._debug(step.method, step.data)

    def _returned(self, step: dict[str, Any], where: str) -> Iterator[tuple[str, bytes]]:
        """A message that no model has said."""
        message, metadata = step["message"], self._messages.about(step["metadata"])
        if "messages-tuple" in self._modes:
            yield "messages" + where, msgspec.json.encode([message, metadata])
        elif "messages" in self._modes:
            yield "messages/metadata", msgspec.json.encode({message["id"]: {"metadata": metadata}})
            yield "messages/complete", msgspec.json.encode([message])

    def _debug(self, method: str, data: bytes) -> bytes:
        payload: dict[str, Any] = msgspec.json.decode(data)
        if method == "checkpoints":
            kind = "checkpoint"
            self._step = number = (payload.get("metadata") or {}).get("step")
        else:
            kind = "task_result" if "result" in payload else "task"
            number = None if self._step is None else self._step + 1
        return msgspec.json.encode({"step": number, "type": kind, "payload": payload})

    def _begun(self, said: Said) -> Iterator[tuple[str, bytes]]:
        if said.begins and "messages" in self._modes and "messages-tuple" not in self._modes:
            message = said.message
            yield "messages/metadata", msgspec.json.encode({message.id: {"metadata": message.metadata}})

    def _chunk(self, said: Said, where: str = "") -> Iterator[tuple[str, bytes, Message]]:
        message = said.message
        if said.chunk is None:
            return
        if not where:
            self._said = message
        if "messages-tuple" in self._modes:
            yield "messages" + where, msgspec.json.encode([said.chunk, message.metadata]), message
        elif "messages" in self._modes:
            name = "messages/complete" if said.complete else "messages/partial"
            yield name, msgspec.json.encode([message.whole()]), message

    def _rest(self, end: SendMessage) -> list[RunEvent]:
        """Of the messages that the turn has added, what the reader was not given: all of them, if it came too late.
        Each has two numbers of its own, whatever of it is lacking."""
        after = self._after
        if end.attempt != self._attempt:
            self._enter(end.attempt)
        if (after.attempt, after.position) < (end.attempt, END):
            self._had(end.content)
        for stored in end.content:
            if had := self._had_before.get(str(stored.get("id"))):
                self._messages.had(stored, had)
        made: list[RunEvent] = []
        for number, stored in enumerate(end.content):
            if said := self._messages.complete(stored):
                made += self._new(Seen(end.attempt, END), self._begun(said), 1 + 2 * number)
                made += self._new(Seen(end.attempt, END), self._chunk(said), 2 + 2 * number)
        return made

    def _had(self, content: Sequence[dict[str, Any]]) -> None:
        """The reader saw a part of the answer before it ended: that one message, as far as its last id says, and those
        before it; or those that were whole when an attempt was lost."""
        marks = [_mark(str(stored.get("id"))) for stored in content]
        for mark, told in ((self._after.message, self._after.text), (self._after.kept, MAX_UNITS)):
            if mark in marks:
                last = marks.index(mark)
                for number, stored in enumerate(content[: last + 1]):
                    self._messages.had(stored, told if number == last else MAX_UNITS)


def failure(end: ReportFailure) -> dict[str, str]:
    """As LangGraph's servers tell it: the exception's type and its message."""
    typed = _TYPED.fullmatch(end.message)
    return {"error": typed[1], "message": typed[2]} if typed else {"error": end.code, "message": end.message}


def interrupts(questions: Iterable[RequestInput]) -> list[dict[str, Any]]:
    """Under the agent's own ids, by which LangGraph's clients resume. A breakpoint asks nothing: there, they are told
    by the nodes that follow in the state."""
    asked = [one for one in questions if not one.interrupt_id.startswith(BREAKPOINT)]
    return [{"value": one.value, "id": own_question_id(one.interrupt_id)} for one in asked]


def with_interrupts(state: bytes, asked: list[dict[str, Any]]) -> bytes:
    values = msgspec.json.decode(state) if asked else None
    return msgspec.json.encode({**values, _INTERRUPT: asked}) if isinstance(values, dict) else state


def _mark(message_id: str) -> str:
    return f"{crc32(message_id.encode()):08x}"
