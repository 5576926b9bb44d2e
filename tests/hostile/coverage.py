"""Fuzzing guided by coverage: inputs that reach something new in the code of the socket are kept and varied.

    pip install atheris; python -m tests.hostile.coverage --minutes 10

Atheris (libFuzzer for Python) is asked for only here: it is a compiled package for few versions of Python, and nobody
else needs it to work on this project. What it finds is kept in `corpus/`, which every test run replays without it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

WATCHED: Final = ("unbroken.entrypoints.web", "unbroken.application.subscribe", "msgspec", "json.decoder")


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0, or libFuzzer's code for a finding, whose input is written to `--found`."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.coverage", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--found", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--kept", type=Path, help="folder of inputs that reached something new")
    given = parser.parse_args(arguments)
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed; it is not pinned, for nothing else needs it: .venv/bin/pip install atheris")
    with atheris.instrument_imports(include=list(WATCHED)):
        one_input: Any = importlib.import_module("tests.hostile.one_input")
    with tempfile.TemporaryDirectory() as begun:
        folder = given.kept or Path(begun)
        folder.mkdir(exist_ok=True, parents=True)
        for number, seed in enumerate(one_input.seeds(400)):
            (folder / f"seed-{number:04}").write_bytes(seed)
        options = [
            f"-max_total_time={given.minutes * 60:.0f}",
            f"-seed={given.seed}",
            "-max_len=4200",
            "-timeout=60",
            "-print_final_stats=1",
            f"-artifact_prefix={given.found}/",
        ]
        atheris.Setup([sys.argv[0], *options, str(folder), str(one_input.CORPUS)], one_input.try_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
