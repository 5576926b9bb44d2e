"""What `make examples` says where it cannot begin. The checks themselves need other people's projects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import __main__ as command
from tests.examples.checkouts import ALL, ENCODING, HOW, REACT, missing

EVERYTHING = [*(f"{example.name}/langgraph.json" for example in ALL), ENCODING, "venv/bin/unbroken"]


def _made(folder: Path, *, without: str = "") -> Path:
    for name in EVERYTHING:
        if name != without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    python = folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text("#!/bin/sh\necho /somewhere/else/domain\n")
    python.chmod(0o755)
    return folder


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'nowhere'} is no folder.\n{HOW}\n"


@pytest.mark.parametrize("name", EVERYTHING)
def test_what_is_missing_is_named_and_nothing_else(tmp_path: Path, name: str) -> None:
    (said,) = missing(_made(tmp_path, without=name))
    assert said.startswith(f"{tmp_path / name.removesuffix('/langgraph.json')} is missing")


def test_a_project_that_is_missing_is_told_with_its_commit(tmp_path: Path) -> None:
    (said,) = missing(_made(tmp_path, without="react-agent/langgraph.json"))
    assert said.endswith(f"a checkout of {REACT.repository} at {REACT.commit}.")


def test_an_environment_that_has_another_tree_is_refused(tmp_path: Path) -> None:
    (said,) = missing(_made(tmp_path))
    assert "does not have this tree: /somewhere/else/domain." in said
