"""What can go wrong, as one tree.

UnbrokenError
├── Refused        the caller's fault: sending the same again cannot help
│   ├── NotAllowed        whoever asks is known, and may not
│   ├── InvalidValue      a value outside its documented set
│   ├── UnknownAgent      no agent of that name is served here
│   ├── NotYourThread     the thread belongs to another user or agent
│   ├── ThreadDeleted     the thread has a tombstone
│   ├── AckAhead          a cursor that was never handed out
│   ├── UnknownRequest    no such request was accepted in this thread
│   ├── UnknownFile       no such file was stored in this thread
│   ├── TooManyFiles      the thread has its limit of files
│   ├── UnknownAssistant  the user has created no such assistant, or no such version of it
│   └── TooMany           the user has the limit of something
├── Conflict       a race was lost, or a truth already stands
│   ├── BodyConflict      this request id already stands for another body
│   ├── AlreadyEnded      the event to cancel has its end in the log
│   ├── CancelRequested   the event was to be finished, but a cancel came first
│   ├── TimerGone         the timer was cancelled, fired or re-set meanwhile
│   ├── HandedOver        the attempt ends at a superstep: another process is to go on from there
│   └── Fenced            another owner, epoch or attempt has taken over
├── Unavailable    trying again later may help
│   ├── QueueFull         the session already has its limit of waiting events
│   ├── Busy              the message was not to wait, and the session has unfinished events
│   ├── StoreUnavailable  the database did not answer; nothing was written
│   └── CommitUnknown     COMMIT was sent and its answer lost: read before repeating
└── TurnFailed     the agent's own end of an attempt, not an error of ours
    ├── AgentRaised       the graph raised
    ├── TimedOut          the attempt outlived its time limit
    ├── Poisoned          every attempt at the event died
    ├── AnswerTooLong     the attempt outgrew the live stream's bound
    ├── QuestionClosed    the question that the event answers is not open any more
    └── BranchGone        the message that the event replaces cannot be gone back to
"""

from __future__ import annotations

from typing import Literal

from unbroken.domain.utf16 import well_formed

CancelKind = Literal["cancel", "rollback"]
"""`cancel` keeps what was shown in the conversation, `rollback` forgets the event."""


class UnbrokenError(Exception):
    """Root of every error this package raises on purpose."""


class Refused(UnbrokenError):
    """The caller asked for something that cannot be had; repeating it cannot help."""


class NotAllowed(Refused):
    """Its message may be shown."""


class InvalidValue(Refused):
    """A value outside its documented set; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class UnknownAgent(Refused):
    def __init__(self, agent_id: str) -> None:
        super().__init__(f"no agent named {agent_id!r} is served here")
        self.agent_id = agent_id


class NotYourThread(Refused):
    def __init__(self, thread_id: str) -> None:
        super().__init__(f"thread {thread_id!r} belongs to another user or agent")
        self.thread_id = thread_id


class ThreadDeleted(Refused):
    def __init__(self, thread_id: str, user_id: str | None = None) -> None:
        """`user_id`: whose it was, where whoever raises knows it: nobody else is to be told."""
        super().__init__(f"thread {thread_id!r} was deleted")
        self.thread_id = thread_id
        self.user_id = user_id


class AckAhead(Refused):
    def __init__(self, cursor: int, log_index: int) -> None:
        super().__init__(f"cursor {cursor} was never handed out; the log ends at {log_index}")
        self.cursor = cursor
        self.log_index = log_index


class UnknownRequest(Refused):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"no request {request_id!r} was accepted in this thread")
        self.request_id = request_id


class UnknownFile(Refused):
    def __init__(self, file_id: str) -> None:
        super().__init__(f"no file {file_id!r} was stored in this thread")
        self.file_id = file_id


class TooManyFiles(Refused):
    def __init__(self, limit: int) -> None:
        super().__init__(f"the thread has {limit} files, which is all it may have")
        self.limit = limit


class UnknownAssistant(Refused):
    def __init__(self, assistant_id: str) -> None:
        super().__init__(f"no assistant {assistant_id!r} was created here")
        self.assistant_id = assistant_id


class TooMany(Refused):
    def __init__(self, limit: int, what: str) -> None:
        super().__init__(f"there are {limit} {what}, which is all there may be")
        self.limit = limit


class Conflict(UnbrokenError):
    """A race was lost, or another truth already stands."""


class BodyConflict(Conflict):
    def __init__(self, request_id: str, seq: int) -> None:
        super().__init__(f"request {request_id!r} was already accepted with another body (event {seq})")
        self.request_id = request_id
        self.seq = seq


class AlreadyEnded(Conflict):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id!r} has ended already")
        self.request_id = request_id


class CancelRequested(Conflict):
    """A finishing commit met a cancel that was accepted before it: nothing was written."""

    def __init__(self, kind: CancelKind) -> None:
        super().__init__(f"a {kind} was accepted before the event was finished")
        self.kind: CancelKind = kind


class TimerGone(Conflict):
    def __init__(self, timer_id: str) -> None:
        super().__init__(f"timer {timer_id!r} was cancelled, fired or set anew meanwhile")
        self.timer_id = timer_id


class HandedOver(Conflict):
    """This process stops, and the attempt has just committed a superstep: whoever takes the session goes on there."""


class Fenced(Conflict):
    """The writer is no longer the owner of this attempt: nothing it holds may become visible (I5)."""


class Unavailable(UnbrokenError):
    """The same call may succeed later."""


class QueueFull(Unavailable):
    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} messages of this thread are already waiting")
        self.limit = limit


class Busy(Unavailable):
    def __init__(self) -> None:
        super().__init__("the thread is busy with an earlier message")


class StoreUnavailable(Unavailable):
    """The store did not do it, and that is certain."""


class CommitUnknown(Unavailable):
    """The store may or may not have done it: read before repeating."""


class TurnFailed(UnbrokenError):
    """An attempt ended without an answer. `code` is the wire's word for it (protocol, rule 9).

    Its message is often an exception's of somebody else, and becomes part of the event's end: it is made well-formed
    here, or the very commit that tells the failure would be refused, and the event be run again.
    """

    code = "model_failed"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(well_formed(message))
        self.retryable = retryable


class AgentRaised(TurnFailed):
    code = "model_failed"


class TimedOut(TurnFailed):
    code = "timed_out"


class AnswerTooLong(TurnFailed):
    code = "answer_too_long"


class Poisoned(TurnFailed):
    code = "poisoned"

    def __init__(self, tries: int) -> None:
        super().__init__(f"this message ended its attempt {tries} times without an answer")


class QuestionClosed(TurnFailed):
    code = "question_closed"


class BranchGone(TurnFailed):
    code = "branch_gone"
