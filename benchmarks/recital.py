"""What the model recites and the load expects; apart from the graph, because the load needs none of its libraries."""

from __future__ import annotations


def words(tokens: int) -> list[str]:
    """What a turn of `tokens` tokens recites; each ends in the answer's only kind of space."""
    return [f"word{number} " for number in range(tokens)]
