"""Serve public LangGraph projects as they are, and see what docs/examples.md says of them.

    python -m tests.examples FOLDER [ARGUMENTS of pytest]

FOLDER holds a checkout of each under its repository's name, and `venv`: docs/examples.md says how to make it. Ends
with 1 where something of it is missing or a check fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.examples.checkouts import HOW, VARIABLE, missing

CHECKS = Path(__file__).with_name("projects.py")
"""No name that pytest collects by itself: without the checkouts there is nothing to check."""


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.examples", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    options, arguments = parser.parse_known_args(given)
    folder: Path = options.folder.absolute()
    lacking = missing(folder)
    if lacking:
        print(*lacking, HOW, sep="\n", file=sys.stderr)
        return 1
    os.environ[VARIABLE] = str(folder)
    return int(pytest.main([str(CHECKS), *arguments]))


if __name__ == "__main__":
    sys.exit(main())
