"""A copy of the tree with one bug in it, and who notices."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.mutants.layers import LIMIT_S, PYTEST, Layer, layers_of
from tests.mutants.mutant import Mutant, mutated

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("domain", "application", "adapters", "entrypoints", "migrations", "tests", "typing_path", "docs")
FILES: Final = ("pyproject.toml", "README.md", ".env.example")
AGAIN: Final = 3
WHERE: Final = "import importlib, sys; print(importlib.import_module(sys.argv[1]).__file__)"


class Verdict(Struct, frozen=True):
    mutant: str
    killed_by: str
    """The layer; empty: it survived."""
    how: str
    """What the layer said last, or `hung`."""
    seeds: int
    """Seeds that the simulation took; 0: another layer."""
    seconds: float


def judge(mutant: Mutant, only: Sequence[str] = ()) -> Verdict:
    """Layer by layer, until one notices. `only`: names of the layers to try; none: those it has to face."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unbroken-mutant-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        _copy(tree)
        _seed(tree, mutant)
        for layer in layers_of(mutant):
            if only and layer.name not in only:
                continue
            said = _convinced(tree, layer)
            if said is not None:
                _assert_green_without(layer)
                seeds = re.search(r"seeds tried: ([\d,]+)", said)
                tried = int(seeds[1].replace(",", "")) if seeds else 0
                return Verdict(mutant.name, layer.name, _last_words(said), tried, time.monotonic() - began)
    return Verdict(mutant.name, "", "", 0, time.monotonic() - began)


def _convinced(tree: Path, layer: Layer) -> str | None:
    """What the layer said, if it is red and red again: a test that fails once and not in its next three runs has met
    a busy machine, not a bug, and the layer is asked anew without it."""
    by_chance: list[str] = []
    while (said := _noticed(tree, layer, *(f"--deselect={test}" for test in by_chance))) is not None:
        failed = re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", said, re.MULTILINE)
        alone = Layer(layer.name, (*PYTEST, *failed))
        if not failed or set(failed) & set(by_chance) or any(_noticed(tree, alone) is not None for _ in range(AGAIN)):
            return said
        by_chance += failed
    return None


@cache
def _assert_green_without(layer: Layer) -> None:
    """A kill counts only where the same layer is green over a copy without a bug. Once a process and layer."""
    with tempfile.TemporaryDirectory(prefix="unbroken-mutant-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        _copy(tree)
        said = _convinced(tree, layer)
    if said is not None:
        raise RuntimeError(f"{layer.name} is red without any bug: {said[-1000:]}")


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


def _noticed(tree: Path, layer: Layer, *more: str) -> str | None:
    """What the layer said, if it is red; None: it is green. `more`: arguments."""
    process = subprocess.Popen(
        (*layer.command, *more),
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
        return "hung"
    return said if process.returncode else None


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if re.match(r"(FAILED|ERROR|  seed |seed \d+:|hung|E  )", line)]
    return (lines[-1] if lines else said.strip()[-200:])[:300]
