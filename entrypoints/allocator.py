"""What the C library may keep of memory that nobody uses any more.

glibc maps blocks of 128 KiB and more one by one, and gives each back to the system when it is freed; until the first of
them is freed. Then it takes such blocks for usual, puts them into its heap from there on, and one small block above
them keeps all of them. Measured after a siege whose attackers ask for answers of 300 KB and read none of them: 40 MB
were in use, 265 MiB resident. A limit that was set once stays where it is.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

MAPPED_FROM_BYTES: Final = 128 << 10
_M_MMAP_THRESHOLD: Final = -3
"""Of malloc.h."""


def give_back_what_is_large() -> None:
    """From here on, whatever is freed of such blocks is the system's again. Elsewhere than on glibc nothing happens."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
