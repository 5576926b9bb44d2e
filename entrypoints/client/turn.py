"""One turn as a client shows it: what was said, and the answer as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Frame = Mapping[str, Any]
Phase = Literal["unsent", "refused", "queued", "running", "cancelling", "unknown", "answered", "cancelled", "failed"]

_MEDIA = frozenset({"image", "audio", "video", "file", "image_url", "input_audio"})
_ENDS: dict[str, Phase] = {"final": "answered", "cancelled": "cancelled", "error": "failed"}


class Turn:
    """
    unsent ──accepted──▶ queued ──attempt──▶ running ──▶ answered · cancelled · failed
       └──▶ refused         └──── cancelling ────┘

    unknown: the server has not named it since the socket was opened, or since a gap.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.seq: int | None = None
        self.cursor: int | None = None
        """Of its first durable frame."""
        self.created_at: str | None = None
        self.said: dict[str, Any] = {}
        """`{content}`, or `{interruptId, value}`; empty: nobody said anything, the agent began."""
        self.replaces: str | None = None
        """The request whose place it takes."""
        self.own: Frame | None = None
        """The frame that we sent for it."""
        self.accepted = False
        self.refused = False
        self.doubtful = False
        """The server has not named it since the socket was opened, or since a gap."""
        self.cancel_wanted = False
        self.cancelling = False
        self.out_of_step = False
        """Its text must not be resumed, but begun again."""
        self.outcome: Phase | None = None
        self.attempt = 0
        self.length = 0
        """Of the text, in UTF-16 code units."""
        self._texts: list[str] = []
        self.tools: list[dict[str, Any]] = []
        self.custom: list[dict[str, Any]] = []
        """What the agent's code wrote into the stream, in order."""
        self.reasoning: list[dict[str, Any]] = []
        """What models thought before they spoke, by message."""
        self.asides: list[dict[str, Any]] = []
        """What subgraphs said, by message; it is no part of the text."""
        self.media: list[dict[str, Any]] = []
        """Blocks of the committed messages that are neither text nor reasoning: pictures, files."""
        self._called: set[tuple[str, ...]] = set()
        """Tools that this socket has told of: what stands beside the text stands before or behind them."""
        self._told_again = False
        """A new socket begins with the first of what stands beside the text."""
        self.questions: list[dict[str, Any]] = []
        self.error: dict[str, Any] | None = None
        self.final: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.outcome is not None

    @property
    def forks(self) -> bool:
        """What it replaces is left behind; not if the server would not go back there."""
        return not self.refused and (self.error is None or self.error["code"] != "branch_gone")

    @property
    def text(self) -> str:
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    @property
    def phase(self) -> Phase:
        if self.outcome:
            return self.outcome
        if self.refused:
            return "refused"
        if not self.accepted:
            return "unsent"
        if self.doubtful:
            return "unknown"
        if self.cancelling:
            return "cancelling"
        return "running" if self.attempt else "queued"

    def view(self) -> dict[str, Any]:
        return {
            "requestId": self.request_id,
            "seq": self.seq,
            "createdAt": self.created_at,
            "said": self.said,
            "replaces": self.replaces,
            "phase": self.phase,
            "attempt": self.attempt,
            "text": self.text,
            "tools": self.tools,
            "custom": self.custom,
            "reasoning": self.reasoning,
            "asides": self.asides,
            "media": self.media,
            "questions": self.questions,
            "error": self.error,
            "final": self.final,
        }

    def unsent(self) -> list[Frame]:
        if self.phase == "unsent" and self.own:
            return [self.own]
        if self.cancel_wanted and self.accepted and not self.cancelling and not self.ended:
            return [{"type": "cancel", "requestId": self.request_id}]
        return []

    def told(self, frame: Frame) -> None:
        self.created_at = frame["createdAt"]
        self.replaces = frame.get("replaces")
        self.said = {key: frame[key] for key in ("content", "interruptId", "value") if key in frame}

    def empty(self, attempt: int) -> None:
        """Begin an attempt, or this one again."""
        if self.ended or attempt < self.attempt:
            return
        self.attempt = attempt
        self.out_of_step = False
        self._show("")
        self.tools = []
        self._called.clear()
        self._clear_beside()

    def write(self, attempt: int, offset: int, value: str) -> bool:
        """Append to an attempt's text. False: this is not where the text ends."""
        if self.ended or attempt < self.attempt:
            return True
        if attempt > self.attempt:
            self.empty(attempt)
        if offset != self.length:
            self.out_of_step = True
            return False
        self._texts.append(value)
        self.length += _units(value)
        return True

    def use(self, frame: Frame) -> None:
        """A tool's step; the place in the text stays where it was called."""
        if self.ended or frame["attempt"] < self.attempt:
            return
        if frame["attempt"] > self.attempt:
            self.empty(frame["attempt"])
        self._called.add(_call(frame))
        step = {key: frame[key] for key in ("toolCallId", "name", "phase", "offset", "namespace") if key in frame}
        if "data" in frame:
            step["args" if frame["phase"] == "started" else "result"] = frame["data"]
        for index, tool in enumerate(self.tools):
            if _call(tool) == _call(step):
                self.tools[index] = {**tool, **step, "offset": tool["offset"]}
                return
        self.tools.append(step)

    def connected(self) -> None:
        self._told_again = not self.ended
        self._called.clear()

    def beside(self, frame: Frame) -> None:
        """Something that is said beside the text: `custom`, `reasoning` or `aside`."""
        if self.ended or frame["attempt"] < self.attempt:
            return
        if frame["attempt"] > self.attempt:
            self.empty(frame["attempt"])
        if self._told_again:
            self._clear_beside()
        place = {"namespace": frame["namespace"], "offset": frame["offset"], "calls": len(self._called)}
        if frame["type"] == "custom":
            self.custom.append({**place, "value": frame["value"]})
            return
        said = self.reasoning if frame["type"] == "reasoning" else self.asides
        for index, known in reversed(list(enumerate(said))):
            if known["messageId"] == frame["messageId"]:
                said[index] = {**known, "text": known["text"] + frame["value"]}
                return
        said.append({**place, "messageId": frame["messageId"], "text": frame["value"]})

    def aloud(self, message_id: str) -> None:
        """What a subgraph said has become part of the answer."""
        if self.asides:
            self.asides = [aside for aside in self.asides if aside["messageId"] != message_id]

    def end(self, frame: Frame) -> None:
        """A durable frame of this turn: its end, or a question that follows it."""
        if frame["type"] == "question":
            self._ask(frame)
            return
        self.outcome = _ENDS[frame["type"]]
        if frame["type"] == "error":
            self.error = {key: frame[key] for key in ("code", "message", "retryable")}
            return
        self.error = None
        self._show(frame["message"])
        if frame["type"] == "final":
            self.attempt = frame["attempt"]
            shown = ("origin", "waiting", "revised", "latencyMs", "tokenUsage")
            self.final = {key: frame[key] for key in shown if key in frame}
            self._recall_tools(frame["content"])
            self._recall_beside(frame["content"])

    def close_question(self, interrupt_id: str, outcome: str) -> bool:
        for question in self.questions:
            if question["interruptId"] == interrupt_id and question["outcome"] is None:
                question["outcome"] = outcome
                return True
        return False

    def _ask(self, frame: Frame) -> None:
        if all(question["interruptId"] != frame["interruptId"] for question in self.questions):
            self.questions.append({"interruptId": frame["interruptId"], "value": frame["value"], "outcome": None})

    def _recall_tools(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """What the committed messages say of tools: whoever was not there to see them is shown them all the same."""
        results = {message["tool_call_id"]: message for message in messages if message["role"] == "tool"}
        length = 0
        for message in messages:
            if message["role"] == "assistant" and (text := _text(message["content"])):
                length += _units(text) + (2 if length else 0)
            for call in message.get("tool_calls", []):
                result = results.get(call["id"])
                named = [tool for tool in self.tools if tool["toolCallId"] == call["id"]]
                if not named:
                    named.append({"toolCallId": call["id"], "name": call["name"], "offset": length})
                    self.tools.append(named[0])
                tool = next((one for one in named if "namespace" not in one), named[0])
                failed = result is not None and result.get("status") == "error"
                tool |= {"phase": "failed" if failed else "finished" if result else "started"}
                tool |= {"args": call["args"]} | ({"result": _text(result["content"])} if result else {})

    def _recall_beside(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """What the committed messages hold besides text and tools, for whoever was not there to see it."""
        length, calls, self.media = 0, 0, []
        for message in messages:
            blocks = message["content"] if isinstance(message["content"], list) else []
            if message["role"] == "assistant":
                self.aloud(message["id"])
                if thought := _thought(blocks):
                    self._recall_thought(message["id"], {"offset": length, "calls": calls}, thought)
                if text := _text(message["content"]):
                    length += _units(text) + (2 if length else 0)
                calls += len(message.get("tool_calls", []))
            if message["role"] in ("assistant", "tool"):
                shown = [block for block in blocks if isinstance(block, dict) and block.get("type") in _MEDIA]
                self.media += [{"offset": length, "calls": calls, "block": block} for block in shown]

    def _recall_thought(self, message_id: str, place: dict[str, int], text: str) -> None:
        for index, known in enumerate(self.reasoning):
            if known["messageId"] == message_id:
                self.reasoning[index] = {**known, "text": text}
                return
        self.reasoning.append({"namespace": [], **place, "messageId": message_id, "text": text})

    def _clear_beside(self) -> None:
        self.custom, self.reasoning, self.asides, self._told_again = [], [], [], False

    def _show(self, text: str) -> None:
        self._texts = [text] if text else []
        self.length = _units(text)


def place(turn: Turn, turns: Sequence[Turn]) -> int:
    """Where a turn belongs: by `seq`, else by cursor; unfinished ones after ended ones, unsent ones last."""
    index = len(turns)
    while index and _follows(turns[index - 1], turn):
        index -= 1
    return index


def _follows(shown: Turn, turn: Turn) -> bool:
    if shown.seq is not None and turn.seq is not None:
        return shown.seq > turn.seq
    if shown.cursor is not None and turn.cursor is not None:
        return shown.cursor > turn.cursor
    if shown.own is not None and not shown.accepted:
        return turn.own is None or turn.accepted
    if shown.ended:
        return False
    return turn.cursor is not None or (turn.seq is None and turn.own is None)


def _call(tool: Mapping[str, Any]) -> tuple[str, ...]:
    """Calls of subgraphs that work side by side may have one id."""
    return (*tool.get("namespace", ()), tool["toolCallId"])


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = (block if isinstance(block, str) else block.get("type") == "text" and block["text"] for block in content)
    return "".join(text for text in texts if text)


def _thought(blocks: Sequence[Any]) -> str:
    """Each provider has a block of its own for it."""
    thoughts = []
    for block in blocks:
        if isinstance(block, dict) and block.get("type") in ("reasoning", "thinking"):
            summary = "\n\n".join(part.get("text") or "" for part in block.get("summary") or [])
            thoughts.append(block.get("reasoning") or block.get("thinking") or summary)
    return "".join(thoughts)


def _units(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)
