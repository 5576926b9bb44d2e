"""What does not fit a pydantic model, in one line: its own message begins with a count and ends with an address."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from pydantic import ValidationError

MOST: Final = 5
"""That are named."""
ENDS: Final = (".", ":", ";", ",", "!", "?")


def misfits(error: BaseException) -> str | None:
    """`field: what is expected`, of each; None: the exception is no such error. What was given is not repeated."""
    if not isinstance(error, ValidationError):
        return None
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, one['loc'])) or error.title}: {one['msg']}" for one in islice(found, MOST)]
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return "; ".join([*told, *more])


def misfit_model(error: BaseException) -> str | None:
    """The name of the model that something does not fit. None: the exception is no such error."""
    return error.title if isinstance(error, ValidationError) else None


def in_one(texts: Iterable[str]) -> str:
    """Their lines, one after another."""
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return " ".join(line if line.endswith(ENDS) else f"{line};" for line in lines).removesuffix(";")


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
