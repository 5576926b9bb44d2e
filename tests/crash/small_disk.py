"""A file system of a chosen size, which can be filled up to its last byte and emptied again: tmpfs, mounted by root."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CHUNK: Final = bytes(1 << 20)


class SmallDisk:
    """`with SmallDisk(folder, mib=300) as disk:` has it mounted on `folder`, which every account may enter.

    Mounting takes root, or a container that may mount (`--cap-add SYS_ADMIN`): without it this raises AssertionError.
    """

    def __init__(self, folder: Path, mib: int) -> None:
        self._folder = folder
        self._mib = mib
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self._folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={self._mib}m,mode=0755", "tmpfs", str(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "--lazy", str(self._folder))

    def fill(self, *, but_for: int = 0) -> None:
        """Until no byte is free, or so many at most. Called again, it takes what others have freed."""
        with self._ballast.open("ab", buffering=0) as file:
            chunk = CHUNK
            while chunk and self.free_bytes > but_for:
                try:
                    file.write(chunk)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    chunk = chunk[: len(chunk) // 2]

    def make_room(self, length: int) -> None:
        """So many bytes of what was filled are free again, or all of it."""
        with self._ballast.open("ab") as file:
            file.truncate(max(0, file.tell() - length))

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"a full disk takes a file system of its own, and {argv[0]} failed: {done.stderr}"
