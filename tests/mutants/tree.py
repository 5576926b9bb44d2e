"""A copy of the tree, with one bug in it or none, and commands that run there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant, mutated

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("domain", "application", "adapters", "entrypoints", "migrations", "tests", "typing_path", "docs")
FILES: Final = ("pyproject.toml", "README.md", ".env.example")
LIMIT_S: Final = 900.0
"""Of one command."""
WHERE: Final = "import importlib, sys; print(importlib.import_module(sys.argv[1]).__file__)"
HUNG: Final = "hung"


@contextmanager
def copied(mutant: Mutant | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="unbroken-mutant-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        _copy(tree)
        if mutant is not None:
            _seed(tree, mutant)
        yield tree


def red(tree: Path, command: Sequence[str]) -> str | None:
    """What the command said, if it failed, or `hung`; None: it is green."""
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=_environment(tree),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return HUNG
    return said if process.returncode else None


def _copy(tree: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    # Figures name their commit: without a repository every simulation would end in an error, mutant or not.
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "a copy")):
        who = ("-c", "user.name=mutants", "-c", "user.email=mutants@localhost")
        subprocess.run(("git", *who, *command), cwd=tree, check=True)


def _seed(tree: Path, mutant: Mutant) -> None:
    for file in dict.fromkeys(edit.file for edit in mutant.edits):
        path = tree / file
        edits = tuple(edit for edit in mutant.edits if edit.file == file)
        path.write_text(mutated(path.read_text("utf-8"), edits), "utf-8")
        if file.endswith(".py") and not file.startswith("migrations"):
            _assert_imported(tree, file)


def _assert_imported(tree: Path, file: str) -> None:
    """That the file with the bug is the one that is tested."""
    module = "unbroken." + file.removesuffix(".py").replace("/", ".")
    done = subprocess.run(
        [sys.executable, "-c", WHERE, module], cwd=tree, env=_environment(tree), capture_output=True, text=True
    )
    found = done.stdout.strip()
    if not found or Path(found).resolve() != (tree / file).resolve():
        raise RuntimeError(f"{module} comes from {found or done.stderr[-500:]}, not from {tree / file}")


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{tree / 'typing_path'}:{tree}", "PYTHONDONTWRITEBYTECODE": "1"}
