"""What the documents say exists, exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"`([\w./-]+\.(?:py|sql|js|md|toml))(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROWS = "E1 E2 E3 E4 K1 K2 K3 Q1 Q2 P1 P2 P3 P4 F1 F2 F3 R1 R2 R3 W1 W2 W3 M1 S1 S2 S3 S4 S5 S6 S7 X1 X2 X3 X4 X5"


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "docs/requirements.md", "docs/security.md"])
def test_every_file_and_test_that_is_named_exists(document: str) -> None:
    found = REFERENCE.findall((ROOT / document).read_text())
    assert len(found) > 20
    missing = [f"{path}::{name}" for path, name in found if not defined(path, name)]
    assert not missing


def defined(path: str, name: str) -> bool:
    file = ROOT / path
    return file.is_file() and (not name or re.search(rf"def {name}\(", file.read_text()) is not None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    missing = [target for target in LINK.findall(document.read_text()) if not (document.parent / target).exists()]
    assert not missing


def test_every_requirement_has_one_row_with_a_file_and_a_proof_or_says_open() -> None:
    document = (ROOT / "docs/requirements.md").read_text()
    rows = re.findall(r"^\| (\w+) \|.*\|.*\| (.*) \| (.*) \|$", document, re.MULTILINE)
    assert [row for row, _, _ in rows if row != "id"] == ROWS.split()
    for row, where, proof in rows[1:]:
        assert REFERENCE.search(where), row
        assert "::" in proof or "tests/" in proof or "**open**" in proof, row


def test_every_invariant_has_a_row() -> None:
    rows = re.findall(r"^\| (I\d+) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert rows == [f"I{number}" for number in range(1, 15)]
