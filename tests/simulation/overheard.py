"""What an agent says, heard between it and the product."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from unbroken.domain.checkpoints import StateChange
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.stream_parts import ToolPhase


class Overheard(Attempt):
    """Passes everything on, and writes down the text that was said while the attempt's gate was open."""

    def __init__(self, attempt: Attempt) -> None:
        self.claim = attempt.claim
        self.gate = attempt.gate
        self.fork = attempt.fork
        self._attempt = attempt
        self._said: dict[str, list[str]] = {}
        self._complete: set[str] = set()
        self.pace: list[tuple[float, int]] = []
        """When the text that may be shown had grown to how many code units."""

    def said(self) -> tuple[str, ...]:
        """A text for each message, in the order they began; surrogates that no other one follows are no text."""
        return tuple(_text(pieces) for pieces in self._said.values())

    def begin_with(self, texts: Sequence[tuple[str, str]]) -> None:
        self._attempt.begin_with(texts)
        for message_id, text in texts:
            self._hear(message_id, text)
            self._complete.add(message_id)

    def text(self, message_id: str, chunk: str) -> None:
        self._attempt.text(message_id, chunk)
        self._hear(message_id, chunk)

    def text_ends(self, message_id: str) -> None:
        self._attempt.text_ends(message_id)
        if message_id in self._said:
            self._complete.add(message_id)

    def tool(
        self,
        tool_call_id: str,
        name: str,
        phase: ToolPhase,
        data: str | None = None,
        namespace: tuple[str, ...] = (),
    ) -> None:
        self._attempt.tool(tool_call_id, name, phase, data, namespace)

    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        self._attempt.step(method, namespace, data)

    async def commit_superstep(self, change: StateChange) -> None:
        await self._attempt.commit_superstep(change)

    def _hear(self, message_id: str, chunk: str) -> None:
        if chunk and self.gate.open and message_id not in self._complete:
            self._said.setdefault(message_id, []).append(chunk)
            self.pace.append((asyncio.get_running_loop().time(), self._units()))

    def _units(self) -> int:
        """Of everything up to the first message that is not complete: what others say meanwhile waits for it."""
        units = 0
        for message_id, pieces in self._said.items():
            units += 2 * (units > 0) + sum(len(piece.encode("utf-16-le", "surrogatepass")) // 2 for piece in pieces)
            if message_id not in self._complete:
                break
        return units


def _text(pieces: Sequence[str]) -> str:
    text = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\x00", "�")
