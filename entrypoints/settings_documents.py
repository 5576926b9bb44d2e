"""The settings as people read them: the README's table and `.env.example`, both made from the types.

`python -m unbroken.entrypoints.settings_documents`, in the repository, brings both files up to date.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

from unbroken.entrypoints.settings import Settings, variable_of

TABLE_HEAD = "| variable | default | meaning |\n|---|---|---|\n"

EXAMPLE_HEAD = """\
# Copy to .env and uncomment what you want to change; each line shows the default.
# The environment wins over this file, and command line options win over both.
"""


def settings_table() -> str:
    """A Markdown table: variable, default, meaning. Ends in a line feed."""
    rows = [
        f"| `{variable_of(name)}` | {f'`{shown}`' if (shown := _shown(field.default)) else ''} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return TABLE_HEAD + "\n".join(rows) + "\n"


def env_example() -> str:
    """Every setting as a commented line with its default, below its meaning."""
    entries = [
        f"# {(field.description or '').replace('`', '')}\n#{variable_of(name)}={_shown(field.default)}\n"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([EXAMPLE_HEAD, *entries])


def with_table(readme: str) -> str:
    """The README with its table of settings as it should be. Raises ValueError if it has none."""
    pattern = re.escape(TABLE_HEAD) + r"(\|.*\n)*"
    if not re.search(pattern, readme):
        raise ValueError("the README has no table of settings")
    return re.sub(pattern, lambda _: settings_table(), readme, count=1)


def _shown(default: Any) -> str:
    if default in (None, (), {}):
        return ""
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


if __name__ == "__main__":
    readme = Path("README.md")
    readme.write_text(with_table(readme.read_text()))
    Path(".env.example").write_text(env_example())
