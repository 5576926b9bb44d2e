"""How long clients waited: for a receipt, a first word, an end, and for another replica to go on with what one left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import msgspec
from msgspec import Struct

from tests.checker.history import ENDS, Fault
from tests.replicas.provider import Billed

LIVE: Final = frozenset({"reset", "token", "tool"})
TAKEN_FROM: Final = frozenset({"kill", "stall", "partition"})
"""Faults after which others take over."""


class Seen(Struct, frozen=True):
    """One line of a trace."""

    kind: str
    at: float
    frame: dict[str, Any] = {}
    url: str = ""
    """Of an `open`: where to."""
    code: int | None = None


class Sight(Struct, frozen=True):
    """One message, from being said on. Seconds; None: it was never seen there."""

    said_at: float
    accepted_s: float | None
    first_text_s: float | None
    end_s: float | None
    silence_s: float
    """The longest time without a frame, from the receipt to the end, on the client that said it."""
    begun_anew: int
    """How often text that was shown was taken back."""
    elsewhere: bool
    """Somebody watched it at another replica than it was said at."""
    watched_first_text_s: float | None
    watched_end_s: float | None


class Takeover(Struct, frozen=True):
    """Seconds from a fault of the owner to the first frame of a successor's attempt at any client."""

    kind: str
    seconds: float


def read(path: Path) -> list[Seen]:
    decode = msgspec.json.Decoder(Seen).decode
    return [decode(line) for line in path.read_bytes().splitlines() if line.strip()] if path.exists() else []


def sights(spoken: Sequence[Seen], watched: Sequence[Seen]) -> Iterator[Sight]:
    """Of each message of one conversation."""
    at_speaker, at_watcher = _by_request(spoken), _by_request(watched)
    urls, watcher_urls = _urls(spoken), _urls(watched)
    said: dict[str, float] = {}
    for line in spoken:
        if line.kind == "sent" and line.frame["type"] == "message":
            said.setdefault(line.frame["requestId"], line.at)
    for request, at in said.items():
        frames, beside = at_speaker.get(request, []), at_watcher.get(request, [])
        where, watcher = _where(urls, at), _where(watcher_urls, at)
        yield Sight(
            said_at=at,
            accepted_s=_first(frames, at, "accepted"),
            first_text_s=_first(frames, at, "token"),
            end_s=_end(frames, at),
            silence_s=_silence(frames),
            begun_anew=_taken_back(frames),
            elsewhere=bool(watcher) and watcher != where,
            watched_first_text_s=_first(beside, at, "token"),
            watched_end_s=_end(beside, at),
        )


def takeovers(
    faults: Sequence[Fault], calls: Sequence[Billed], attempts: Mapping[str, int], lines: Sequence[Seen]
) -> Iterator[Takeover]:
    """In one conversation: its owner was hit in the middle of an answer, and another replica asked the model next."""
    first_frame: dict[int, float] = {}
    for line in lines:
        if line.kind == "frame" and line.frame["type"] in LIVE:
            attempt = line.frame["attempt"]
            first_frame[attempt] = min(line.at, first_frame.get(attempt, inf))
    for fault in dict.fromkeys(fault for fault in faults if fault.kind in TAKEN_FROM):
        for call in calls:
            if call.replica == fault.replica and call.at < fault.at < call.over:
                later = [one for one in calls if one.event_id == call.event_id and one.at > fault.at]
                if later and later[0].replica != fault.replica and later[0].at < fault.until:
                    seen_at = first_frame.get(attempts.get(later[0].salt, 0))
                    if seen_at is not None:
                        yield Takeover(fault.kind, seen_at - fault.at)


def percentiles(values: Sequence[float], digits: int = 1) -> tuple[float, float]:
    """Median and 99th percentile, in ms from seconds; 0 of nothing."""
    if not values:
        return 0.0, 0.0
    steps = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return round(steps[49] * 1000, digits), round(steps[98] * 1000, digits)


def _by_request(lines: Sequence[Seen]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for line in lines:
        if line.kind == "frame" and "requestId" in line.frame:
            found.setdefault(line.frame["requestId"], []).append(line)
    return found


def _urls(lines: Sequence[Seen]) -> list[tuple[float, str]]:
    return [(line.at, line.url) for line in lines if line.kind == "open"]


def _where(urls: Sequence[tuple[float, str]], at: float) -> str:
    return next((url for opened, url in reversed(urls) if opened <= at), "")


def _first(frames: Sequence[Seen], said_at: float, kind: str) -> float | None:
    return next((line.at - said_at for line in frames if line.frame["type"] == kind), None)


def _end(frames: Sequence[Seen], said_at: float) -> float | None:
    ends = (line.at - said_at for line in frames if line.frame["type"] in ENDS and "cursor" in line.frame)
    return next(ends, None)


def _silence(frames: Sequence[Seen]) -> float:
    """Of what belongs to the answer; what waits in the queue is not under way yet."""
    begun = next((at for at, line in enumerate(frames) if line.frame["type"] in LIVE), None)
    if begun is None:
        return 0.0
    return max((after.at - before.at for before, after in pairwise(frames[begun:])), default=0.0)


def _taken_back(frames: Sequence[Seen]) -> int:
    attempt, shown, times = 0, False, 0
    for line in frames:
        kind = line.frame["type"]
        if kind == "reset" and line.frame["attempt"] > attempt:
            times += shown
            attempt, shown = line.frame["attempt"], False
        elif kind == "token":
            shown = True
    return times
