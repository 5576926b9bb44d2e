"""The Compose specification's own schema, which no package holds for Python: a copy is beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator  # type: ignore[import-untyped]

SCHEMA = Path(__file__).parent / "compose-spec" / "compose-spec.json"


def complaints(compose: Any) -> list[str]:
    """Where a Compose file is not what the specification says, and why."""
    validator = Draft7Validator(json.loads(SCHEMA.read_text()))
    return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(compose)]
