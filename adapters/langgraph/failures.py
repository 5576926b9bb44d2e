"""What to tell users of an exception that a graph raised, and whether trying again may help."""

from __future__ import annotations

import re
from contextlib import suppress

from langgraph.errors import GraphRecursionError

from unbroken.adapters.langgraph.misfits import misfits
from unbroken.domain.errors import AgentRaised

MAX_MESSAGE = 300
TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
TRANSIENT_NAMES = frozenset(
    {
        "APIConnectionError",
        "APITimeoutError",
        "InternalServerError",
        "OverloadedError",
        "RateLimitError",
        "ServiceUnavailable",
        "ServiceUnavailableError",
        "TooManyRequests",
        "TransportError",
    }
)
"""Classes of providers and HTTP clients, whose packages need not be installed."""

SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 …"),
    (re.compile(r"(?i)\b([\w-]*(?:api[_-]?key|token|password|passwd|secret))(['\"]?\s*[=:]\s*)\S+"), r"\1\2…"),
    (re.compile(r"://[^/\s@]+@"), "://…@"),
    (re.compile(r"\b(?:sk|pk|rk|ghp|xox[a-z]|AKIA|AIza)[-_A-Za-z0-9*]{6,}"), "…"),
)


def agent_raised(error: BaseException, expected: str | None = None) -> AgentRaised:
    """`expected`: what the agent takes, where what it was given is the cause."""
    message = told(error)
    return AgentRaised(f"{message}; {expected}" if expected else message, retryable=is_transient(error))


def told(error: BaseException) -> str:
    """The exception's type and the first line of its message, or the fields that a model found wanting, without what
    looks like a secret; bounded."""
    if isinstance(error, GraphRecursionError):
        return "GraphRecursionError: the agent reached its limit of steps without an answer"
    lines = (misfits(error) or _said(error)).strip().splitlines()
    first = lines[0] if lines else ""
    for pattern, replacement in SECRETS:
        first = pattern.sub(replacement, first)
    name = type(error).__name__
    return f"{name}: {first}"[:MAX_MESSAGE] if first else name


def _said(error: BaseException) -> str:
    """An exception of somebody else's class may not even be able to say what it is about."""
    with suppress(Exception):
        return str(error)
    return ""


def is_transient(error: BaseException) -> bool:
    """Network trouble, time-outs, rate limits and a provider's own failures pass by themselves."""
    if isinstance(error, GraphRecursionError) or getattr(error, "code", None) == "insufficient_quota":
        return False
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status in TRANSIENT_STATUS
    return any(base.__name__ in TRANSIENT_NAMES for base in type(error).__mro__)
