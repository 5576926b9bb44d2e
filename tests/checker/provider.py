"""I9: whatever stopped a turn, no provider refuses the next request for the history that it left."""

from __future__ import annotations

from collections.abc import Iterator

from tests.checker.history import History, Violation
from tests.checker.threads import Thread


def provider_violations(history: History, thread: Thread) -> Iterator[Violation]:
    messages = history.tables.model_messages.get(thread.thread_id)
    if not messages or thread.applied_seq < len(thread.events) or _asks(thread):
        return
    # Imported here: few histories hold a real model's messages, and many programs read the others.
    from langchain_core.messages import HumanMessage

    from tests.checker import model_rules

    for rule in model_rules.violations([*messages, HumanMessage("and now?")]):
        yield Violation("I9", thread.thread_id, f"a provider would refuse the history: {rule}")


def _asks(thread: Thread) -> bool:
    """An open question's tool call has no result yet."""
    still = 0
    for effect in thread.effects:
        still += effect.type == "request_input"
        still -= effect.type == "close_question"
    return still > 0
