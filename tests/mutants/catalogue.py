from __future__ import annotations

from typing import Final

from tests.mutants.clients import CLIENTS
from tests.mutants.edges import EDGES
from tests.mutants.memory import MEMORY
from tests.mutants.mutant import Mutant
from tests.mutants.readers import READERS
from tests.mutants.rules import RULES
from tests.mutants.runs import RUNS
from tests.mutants.statements import STATEMENTS
from tests.mutants.turns import TURNS
from tests.mutants.use_cases import USE_CASES

ALL: Final[tuple[Mutant, ...]] = (*USE_CASES, *TURNS, *READERS, *RULES, *MEMORY, *STATEMENTS, *EDGES, *CLIENTS, *RUNS)
