"""What may kill a mutant: one suite after another, and which of them a mutant has to face."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tests.mutants.mutant import Mutant

PYTEST: Final = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")


class Layer(Struct, frozen=True):
    """Either seeds or tests."""

    name: str
    seeds: int = 0
    """Of the simulation, from 0 on."""
    real: bool = False
    """With LangGraph itself."""
    tests: tuple[tuple[str, ...], ...] = ()
    """Arguments of pytest, one run after another: what is quick first, the rest of the layer behind it."""


LAYERS: Final = {
    layer.name: layer
    for layer in (
        Layer("simulation", seeds=4_000),
        Layer("simulation, real", seeds=400, real=True),
        Layer(
            "contracts",
            tests=(
                ("tests/domain", "tests/application"),
                ("tests/contracts", "-k", "not postgres"),
                ("tests/contracts", "-k", "postgres"),
            ),
        ),
        Layer(
            "contracts, postgres",
            tests=(
                ("tests/contracts", "-k", "postgres-18"),
                ("tests/contracts", "-k", "not postgres-18"),
            ),
        ),
        Layer("postgres", tests=(("tests/postgres",),)),
        Layer("langgraph", tests=(("tests/langgraph",),)),
        Layer("web", tests=(("tests/web",), ("tests/client",))),
        Layer("client", tests=(("tests/client",), ("tests/web",))),
        Layer("processes", tests=(("tests/end_to_end",), ("tests/crash",))),
    )
}
FACED: Final[dict[str, tuple[str, ...]]] = {
    "adapters/postgres": ("contracts, postgres", "postgres", "processes"),
    "migrations": ("contracts, postgres", "postgres", "processes"),
    "adapters/langgraph": ("langgraph", "simulation, real", "processes"),
    "adapters/memory": ("simulation", "contracts", "web", "processes"),
    "entrypoints/client": ("client", "processes"),
    "": ("simulation", "contracts", "web", "langgraph", "simulation, real", "processes"),
}
"""By the beginning of the path that a mutant changes; what is likeliest to notice it comes first."""


def layers_of(mutant: Mutant) -> Sequence[Layer]:
    path = mutant.edits[0].file
    return [LAYERS[name] for name in next(names for start, names in FACED.items() if path.startswith(start))]
