"""What a coverage-guided fuzzer calls: any bytes, as what they may be for a server. Raises whatever proves it wrong.

The first byte chooses: a text frame, a binary frame, a query, or one frame a line into a session.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Final

from tests.application.virtual_time import VirtualTimeLoop
from tests.hostile.attacker import Attacker
from tests.hostile.mischief import Known, Mischief
from tests.hostile.owed import WrongAnswer
from tests.hostile.service import SETTINGS, hosting
from tests.hostile.sound import outcome_of
from tests.hostile.storm import forgotten, listening
from tests.hostile.tally import Tally
from unbroken.entrypoints.web.query import BadQuery, parse_query

CORPUS: Final = Path(__file__).with_name("corpus")
"""Inputs that each reached something new, kept small; every test run replays them."""
SESSION, QUERY, BINARY = b"s", b"q", b"b"


def try_input(data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    if kind == SESSION:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, listening() as errors:
            runner.run(_session(rest.decode("utf-8", "replace").split("\n")[:50]))
        if errors:
            raise WrongAnswer(f"unhandled: {errors}")
    elif kind == QUERY:
        try:
            parse_query(rest)
        except BadQuery as bad:
            if len(str(bad).encode()) > 123:
                raise WrongAnswer("the reason does not fit into a close frame") from bad
    else:
        outcome_of(rest if kind == BINARY else _text(rest), SETTINGS.frame_limits)


async def _session(frames: list[str]) -> None:
    async with hosting() as host:
        await Attacker(host, Known(), Tally(), "guest").send("mallory", frames[0], frames[1:])
        await asyncio.sleep(60)
        await forgotten(host)


def seeds(number: int) -> list[bytes]:
    """Inputs to begin with: frames of the grammar's kinds, alone and in sessions."""
    source = Mischief(Random(1), Known())
    frames = [
        frame if isinstance(frame, bytes) else frame.encode("utf-8", "replace") for frame in _some(source, number)
    ]
    sessions = [SESSION + b"threadId=t&cursor=0\n" + b"\n".join(frames[n : n + 8]) for n in range(0, number, 8)]
    queries = [b"threadId=t", b"threadId=t&cursor=tail&requestId=r&attempt=1&offset=2", b"threadId=%ff", b"agentId=x"]
    return [*(b"t" + frame for frame in frames), *sessions, *(QUERY + query for query in queries), BINARY + b"{}"]


def _some(source: Mischief, number: int) -> list[str | bytes]:
    return [source.frame() for _ in range(number)]


def _text(data: bytes) -> str:
    """Half pairs included: no socket lets them through, the codec has to refuse them all the same."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")
