"""The figures in the documents are those that were kept."""

from __future__ import annotations

from tests.figures import DOCUMENT, document, rows


def test_the_tables_of_figures_are_what_was_recorded() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert rows()
    assert text == document(text)
