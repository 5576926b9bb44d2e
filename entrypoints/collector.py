"""What Python's search for cycles, of objects that only refer to each other, may leave out.

Unasked it looks now and then through everything there is: when a server has just started 230,000 objects, nearly all of
them modules and compiled graphs, which nobody will ever throw away. Measured at a hundred sessions, that was most of a
quarter of a turn's CPU, in stops of 130 ms. So what is there once the server serves is never looked at again. How often
it looks stays Python's own choice: hostile frames leave cycles too, and with large ones.
"""

from __future__ import annotations

import gc


def leave_alone_what_is_there() -> None:
    """What is there now is never collected, also if nothing refers to it any more."""
    gc.collect()
    gc.freeze()
