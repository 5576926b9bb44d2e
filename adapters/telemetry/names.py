"""What spans and metrics are called: OpenTelemetry's words for generative AI and messaging where there are any.

Of the conventions that are still in the making only names are taken, as text: their constants move between releases.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.util.types import AttributeValue

from unbroken.domain.events import Event
from unbroken.domain.session import Claim, SessionKey

SYSTEM: Final = "unbroken"

AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
USAGE: Final = "gen_ai.token.type"
MESSAGE: Final = "messaging.message.id"
MESSAGE_CONVERSATION: Final = "messaging.message.conversation_id"
ERROR: Final = "error.type"

REQUEST: Final = "unbroken.request.id"
SEQ: Final = "unbroken.event.seq"
ATTEMPT: Final = "unbroken.attempt"
TRIES: Final = "unbroken.attempt.tries"
RESUMES: Final = "unbroken.attempt.resumes"
REASON: Final = "unbroken.attempt.reason"
RECONSTRUCTED: Final = "unbroken.attempt.reconstructed"
OUTCOME: Final = "unbroken.outcome"
KIND: Final = "unbroken.kind"
STATUS: Final = "unbroken.status"
LOG_INDEX: Final = "unbroken.log_index"

Attributes = dict[str, AttributeValue]


def messaging(operation: str, kind: str, destination: str) -> Attributes:
    """`kind`: send, process, settle …: the convention's own few."""
    return {
        "messaging.system": SYSTEM,
        "messaging.destination.name": destination,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }


def session(key: SessionKey) -> Attributes:
    """Whose it is, without the user: a trace is read by more people than a conversation."""
    return {AGENT: key.agent_id, CONVERSATION: key.thread_id, MESSAGE_CONVERSATION: key.thread_id}


def event(what: Event) -> Attributes:
    return {MESSAGE: what.id, REQUEST: what.request_id, SEQ: what.seq}


def attempt(claim: Claim) -> Attributes:
    return {
        **session(claim.key),
        **event(claim.event),
        ATTEMPT: claim.run,
        TRIES: claim.tries,
        RESUMES: claim.resumes,
    }
