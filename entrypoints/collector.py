"""When Python looks for cycles, of objects that only refer to each other, and at what.

Unasked it looks now and then through everything there is: when a server has just started 230,000 objects, nearly all of
them modules and compiled graphs, which nobody will ever throw away. Measured at a hundred sessions, that was most of a
quarter of a turn's CPU, in stops of 130 ms. So what is there once the server serves is never looked at again.

Of the rest it looks at the youngest after so many more of them have come than gone, whatever they hold. A turn that
ends well and a socket that has ended, however it did, leave none in cycles (`web/frugal.py`); a turn that was cancelled
leaves a few, and an agent's own errors may leave some that hold much. So it looks seldom by number, and at once when
the process has grown: memory is what counts, and who takes none pays nothing.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

import psutil

YOUNG: Final = 50_000
"""Objects that came and have not gone, after which the youngest are looked at; Python's own number is 700."""
GROWN_BYTES: Final = 64 << 20
EVERY_S: Final = 1.0


def leave_alone_what_is_there() -> None:
    """What is there now is never collected, also if nothing refers to it any more; the rest is looked at seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


async def collect_when_grown(*, grown_bytes: int = GROWN_BYTES, every_s: float = EVERY_S) -> None:
    """For as long as the process serves: look for cycles whenever it holds so much more than it did."""
    process = psutil.Process()
    least = process.memory_info().rss
    while True:
        await asyncio.sleep(every_s)
        resident = process.memory_info().rss
        if resident - least > grown_bytes:
            gc.collect()
            least = process.memory_info().rss
        least = min(least, resident)
