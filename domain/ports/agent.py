from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from unbroken.domain.checkpoints import StateChange
from unbroken.domain.session import Claim
from unbroken.domain.stream_parts import ToolPhase
from unbroken.domain.turn import Answer, Fork, Gate, Settled, Settling


class Attempt(ABC):
    """One try at a turn, as the agent sees it. Every method is harmless once the gate is closed."""

    claim: Claim
    gate: Gate
    fork: Fork | None
    """Set if the event replaces an earlier one: start from there, unless `claim.resumes`, and commit these heads with
    the first change."""

    @abstractmethod
    def begin_with(self, texts: Sequence[tuple[str, str]]) -> None:
        """(message id, text) already committed inside this event: the stream begins with them."""

    @abstractmethod
    def text(self, message_id: str, chunk: str) -> None:
        """Append to the live stream. Never blocks, never raises; thread-unsafe, call on the event loop."""

    @abstractmethod
    def text_ends(self, message_id: str) -> None:
        """This message is complete; others that waited may stream."""

    @abstractmethod
    def tool(
        self,
        tool_call_id: str,
        name: str,
        phase: ToolPhase,
        data: str | None = None,
        namespace: tuple[str, ...] = (),
    ) -> None:
        """Show a step of a tool call beside the text. `namespace`: of the subgraph that calls it; empty: the root."""

    @abstractmethod
    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        """Show anything else beside the text (`StepPart`): `data` is JSON. As cheap, and as harmless, as `text`."""

    @abstractmethod
    async def commit_superstep(self, change: StateChange) -> None:
        """Make a superstep durable before the next one starts. Raises Fenced, StoreUnavailable, CommitUnknown:
        all of them end the attempt."""


class Agent(ABC):
    """Turns one event into an answer. Holds no transaction and no connection while it works."""

    @abstractmethod
    async def run(self, attempt: Attempt) -> Answer:
        """Run the event of `attempt.claim`; resume without new input if, and only if, `claim.resumes`.

        Raises TurnFailed when the agent failed, Fenced when the gate closed, Unavailable when state could not
        be read. Cancelling it is allowed at any await.
        """

    @abstractmethod
    async def settle(self, settling: Settling) -> Settled:
        """Make the history of an attempt whole that was stopped or failed, so that models accept what follows:
        what was shown and is not in the state yet becomes a message, and every open tool call gets an error as
        its result; nothing is pending any more. If nothing was shown or committed, the event is not in the state.

        Raises Unavailable when state could not be read; whatever else it raises means that the heads go back.
        """


class Agents(ABC):
    """The agents served here, by name."""

    @abstractmethod
    def get(self, agent_id: str) -> Agent:
        """Raises UnknownAgent."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The default agent first."""

    @property
    def left_behind(self) -> int:
        """Threads that agents' code still keeps although its attempts have ended."""
        return 0
