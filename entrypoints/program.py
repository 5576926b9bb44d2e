"""The console command's first step: nothing that takes time is imported before Ctrl-C means what it says."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from unbroken.entrypoints.cli import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(130)
    run()
