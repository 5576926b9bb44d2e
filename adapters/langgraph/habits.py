"""Which model calls speak to the user, learned by watching."""

from __future__ import annotations

from collections.abc import Collection

CALL = tuple[str, int]
"""A node's name, and the number of the model call within one run of the node."""

MOST = 3


class Habits:
    """A classifier's model streams like any other, and its words are not part of the answer.

    Nothing tells before a node returns whether it adds a message. So a call is believed to speak until its node
    was seen to finish without it; from then on its words are held back until the state shows them. Evidence
    counts both ways, so a rare exception silences nobody for good. Lives as long as the process, per agent.
    """

    def __init__(self) -> None:
        self._scores: dict[CALL, int] = {}

    def silent(self, call: CALL) -> bool:
        return self._scores.get(call, 0) < 0

    def learn(self, node: str, messages_of_calls: Collection[tuple[int, str | None]], added: Collection[str]) -> None:
        """One finished run of a node: its calls as (number, message id), and the ids of the AI messages it added.

        A node that added messages, but none of a call's, wrote them anew from what its models said: no evidence.
        """
        own = {message_id for _, message_id in messages_of_calls}
        if added and own.isdisjoint(added):
            return
        for number, message_id in messages_of_calls:
            spoke = message_id in added
            score = self._scores.get((node, number), 0) + (1 if spoke else -1)
            self._scores[node, number] = max(-MOST, min(MOST, score))
