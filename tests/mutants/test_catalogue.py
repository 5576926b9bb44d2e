"""Every seeded bug fits the code as it is, so that none of them silently seeds nothing."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.mutants.__main__ import DOCUMENT
from tests.mutants.catalogue import ALL
from tests.mutants.mutant import Mutant, mutated
from tests.mutants.tree import ROOT


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_each_bug_fits_the_code(mutant: Mutant) -> None:
    for file in {edit.file for edit in mutant.edits}:
        edits = tuple(edit for edit in mutant.edits if edit.file == file)
        text = (ROOT / file).read_text("utf-8")
        changed = mutated(text, edits)
        assert changed != text
        if file.endswith(".py"):
            compile(changed, file, "exec")


def test_there_are_enough_and_none_is_there_twice() -> None:
    assert len(ALL) >= 50
    assert [name for name, times in Counter(mutant.name for mutant in ALL).items() if times > 1] == []


def test_the_document_has_a_row_for_each_bug_and_for_no_other() -> None:
    named = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert named == [mutant.name for mutant in ALL]
