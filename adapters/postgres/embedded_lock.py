"""The lock on a data directory: one serving process, freed by the kernel however that process ends."""

from __future__ import annotations

import os
from pathlib import Path

from unbroken.adapters.postgres.embedded_errors import AlreadyServed


class DataDirLock:
    """Held from `acquire` to `release`, or to the end of the process, `kill -9` included.

    It is an flock on a file that is never removed: a removed file would let two processes each lock their own.
    Child processes do not inherit it, so a server that outlives its starter does not hold it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises AlreadyServed, naming the holder as far as it has introduced itself."""
        import fcntl  # noqa: PLC0415  (not on Windows, where this module is imported but never used)

        file = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, port = _introduction(os.pread(file, 64, 0))
            os.close(file)
            raise AlreadyServed(self._data_dir, pid, port) from None
        self._file = file
        self.introduce(port=None)

    def introduce(self, port: int | None) -> None:
        """Write down who holds the lock, for the message that a second starter gets."""
        assert self._file is not None, "only the holder introduces itself"
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()} {port or ''}\n".encode(), 0)

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _introduction(text: bytes) -> tuple[int | None, int | None]:
    numbers = [int(word) for word in text.split() if word.isdigit()]
    return (numbers[0] if numbers else None), (numbers[1] if len(numbers) > 1 else None)
