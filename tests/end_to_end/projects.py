"""The LangGraph projects of tests/projects, each copied to where it is served."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.end_to_end.server import ROOT

PROJECTS = ROOT / "tests" / "projects"


def laid_out(folder: Path, project: str) -> Path:
    shutil.copytree(PROJECTS / project, folder, dirs_exist_ok=True)
    return folder
