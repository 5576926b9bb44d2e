"""What the page brings along of others: these very files, each with its licence."""

from __future__ import annotations

import hashlib
import re

from tests.client.replay import PAGE

VENDOR = PAGE / "vendor"
ROW = re.compile(r"^\| `([^`]+)` \|.*\| ([^|]+) \| `([0-9a-f]{64})` \|$", re.MULTILINE)
LOADED = re.compile(r"""(?:from|import|src=|href=|url)\s*\(?\s*["']((?:https?:)?//[^"']+)["']""")


def test_every_vendored_file_is_the_one_that_is_named_and_has_its_licence() -> None:
    rows = ROW.findall((VENDOR / "README.md").read_text())
    hashes = {name: digest for name, _, digest in rows}
    licences = {name for _, names, _ in rows for name in names.split(", ")}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir() if path.is_file()}
    del files["README.md"]
    assert files == hashes
    assert {path.name for path in (VENDOR / "licenses").iterdir()} == licences


def test_the_page_loads_nothing_from_elsewhere() -> None:
    found = [
        (path.name, address)
        for path in PAGE.rglob("*")
        if path.suffix in {".js", ".css", ".html", ".svg"}
        for address in LOADED.findall(path.read_text())
    ]
    assert found == []


def test_no_script_or_style_stands_in_the_document() -> None:
    """So that the strictest policy holds: `default-src 'self'`."""
    document = (PAGE / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*src=)|<style| style=| on[a-z]+=", document) == []


def test_every_module_is_fetched_at_once() -> None:
    """Not one after another as each names the next; but for the highlighter, which waits for the first code."""
    document = (PAGE / "index.html").read_text()
    named = set(re.findall(r'<(?:link rel="modulepreload" href|script[^>]* src)="([^"]+)"', document))
    scripts = {str(path.relative_to(PAGE)) for path in PAGE.rglob("*.js")}
    assert scripts - named == {path for path in scripts if "highlight" in path}
    assert named <= scripts
