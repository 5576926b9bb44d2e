"""How much memory this process holds, and how much of it is in use."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final, Generic, TypeVar

import psutil
from msgspec import Struct

T = TypeVar("T")
_LIBRARY: Final = ctypes.CDLL(None)


class Memory(Struct, Generic[T], frozen=True):
    resident: T
    """Bytes that the system counts."""
    c_bytes: T
    """Bytes in use of the C library's allocator: what extensions hold, and Python's objects of more than 512 bytes."""
    blocks: T
    """Blocks in use of Python's own allocator, of at most 512 bytes each."""


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "mapped", "usmblks", "fsmblks", "used", "free", "keepcost")
    ]


def measured() -> Memory[float]:
    """After everything that can be let go of has been: garbage, and what the C library keeps free for later. `c_bytes`
    is 0 where that is another library than glibc."""
    gc.collect()
    if (trim := getattr(_LIBRARY, "malloc_trim", None)) is not None:
        trim(0)
    return Memory(float(psutil.Process().memory_info().rss), _c_bytes(), float(sys.getallocatedblocks()))


def _c_bytes() -> float:
    count = getattr(_LIBRARY, "mallinfo2", None)
    if count is None:
        return 0.0
    count.restype = _MallInfo
    found = count()
    return float(found.used + found.mapped)
