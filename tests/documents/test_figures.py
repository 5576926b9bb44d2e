"""The figures in the documents are those that were kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import document as performance
from tests import figures
from tests.figures import DOCUMENT, document, rows


def test_the_tables_of_figures_are_what_was_recorded() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert rows()
    assert text == document(text)


def test_the_tables_of_performance_are_what_was_measured() -> None:
    text = performance.DOCUMENT.read_text("utf-8")
    assert text == performance.document(text, performance.KEPT)


def test_the_tables_of_scaling_are_what_was_measured() -> None:
    text = performance.SCALING.read_text("utf-8")
    assert text == performance.scaling_document(text, performance.KEPT)


def test_several_runs_have_a_sum_of_what_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept.jsonl"
    runs = [
        {"kind": "k", "commit": "a", "seeds": 2, "fewest_in_a_cell": 0, "p50_ms": 7, "met": {"x": 3, "y": 1}},
        {"kind": "k", "commit": "b", "seeds": 3, "fewest_in_a_cell": 1, "p50_ms": 9, "met": {"x": 1, "y": 4}},
    ]
    kept.write_text("".join(json.dumps(run) + "\n" for run in runs), "utf-8")
    monkeypatch.setattr(figures, "KEPT", kept)
    table = [line for line in figures.tables() if line.startswith("| ") and "---" not in line]
    assert table == [
        "| commit | seeds | fewest in a cell | p50 ms |",
        "| a | 2 | 0 | 7 |",
        "| b | 3 | 1 | 9 |",
        "| **together** | 5 | 4 |  |",
    ]
