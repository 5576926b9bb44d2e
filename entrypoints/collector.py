"""How often Python looks for cycles of objects that only refer to each other.

Unasked it looks after every 700 of them, and now and then through everything there is: when a server has just started
230,000 objects, nearly all of them modules and compiled graphs, which nobody will ever throw away. Measured at a
hundred sessions, that was a quarter of a turn's CPU, in stops of 130 ms. So what is there once the server serves is
never looked at again, and the rest less often: a turn leaves fewer than ten objects that only the collector can free.
"""

from __future__ import annotations

import gc
from typing import Final

EVERY_OBJECTS: Final = 10_000
"""More than were freed, of those that could be part of a cycle: about 75 turns."""
OLDER_EVERY: Final = 5
"""Of these looks one is at what survived the last one, of those again one at everything that is not left alone."""


def look_for_cycles_less_often() -> None:
    gc.set_threshold(EVERY_OBJECTS, OLDER_EVERY, OLDER_EVERY)


def leave_alone_what_is_there() -> None:
    """What is there now is never collected, also if nothing refers to it any more."""
    gc.collect()
    gc.freeze()
