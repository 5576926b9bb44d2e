"""What may kill a mutant: commands, from the quickest to the slowest, and which of them a mutant has to face."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tests.mutants.mutant import Mutant

LIMIT_S: Final = 900.0
PYTEST: Final = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
SEEDS: Final = "4000"


class Layer(Struct, frozen=True):
    name: str
    command: tuple[str, ...]


LAYERS: Final = {
    layer.name: layer
    for layer in (
        Layer("simulation", (sys.executable, "-m", "tests.simulation", "--seeds", SEEDS, "--quiet")),
        Layer("simulation, real", (sys.executable, "-m", "tests.simulation", "--seeds", "400", "--real", "--quiet")),
        Layer("contracts", (*PYTEST, "tests/contracts", "tests/application", "tests/domain")),
        Layer("postgres", (*PYTEST, "tests/postgres")),
        Layer("langgraph", (*PYTEST, "tests/langgraph")),
        Layer("web", (*PYTEST, "tests/web", "tests/client")),
        Layer("processes", (*PYTEST, "tests/crash", "tests/end_to_end")),
    )
}
FACED: Final[dict[str, tuple[str, ...]]] = {
    "adapters/postgres": ("contracts", "postgres", "processes"),
    "migrations": ("contracts", "postgres", "processes"),
    "adapters/langgraph": ("simulation, real", "langgraph", "processes"),
    "entrypoints/client": ("web", "processes"),
    "": ("simulation", "simulation, real", "contracts", "web", "langgraph", "processes"),
}
"""By the beginning of the path that a mutant changes."""


def layers_of(mutant: Mutant) -> Sequence[Layer]:
    path = mutant.edits[0].file
    return [LAYERS[name] for name in next(names for start, names in FACED.items() if path.startswith(start))]
