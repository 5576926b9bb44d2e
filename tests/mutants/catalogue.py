from __future__ import annotations

from typing import Final

from tests.mutants.edges import EDGES
from tests.mutants.mutant import Mutant

ALL: Final[tuple[Mutant, ...]] = (*EDGES,)
