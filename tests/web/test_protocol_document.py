"""docs/protocol.md says what the types say: nothing more, nothing less."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from unbroken.entrypoints.web.frames import CLIENT_FRAMES, SERVER_FRAMES, CloseCode, ErrorCode, Frame
from unbroken.entrypoints.web.query import parse_query

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
FRAMES = {str(frame.__struct_config__.tag): frame for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)}


def section(heading: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/protocol.md has no {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a section's first table, without its head; code marks removed from the first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]
    return [[first.strip("`"), *rest] for first, *rest in cells]


def documented(part: str) -> list[str]:
    return re.findall(r"^### `(\w+)`$", section(part), re.MULTILINE)


def test_every_frame_of_either_side_is_documented_and_no_other() -> None:
    assert documented("## Frames from the client") == [str(frame.__struct_config__.tag) for frame in CLIENT_FRAMES]
    assert documented("## Frames from the server") == [str(frame.__struct_config__.tag) for frame in SERVER_FRAMES]


@pytest.mark.parametrize("kind", FRAMES)
def test_every_field_of_a_frame_is_documented_and_no_other(kind: str) -> None:
    fields = msgspec.structs.fields(FRAMES[kind])
    of_the_type = {field.encode_name: "always" if field.required else "optional" for field in fields}
    assert {name: presence for name, presence, _ in rows(section(f"### `{kind}`"))} == of_the_type


@pytest.mark.parametrize("kind", FRAMES)
def test_every_word_that_a_field_may_hold_is_documented(kind: str) -> None:
    meanings = {name: meaning for name, _, meaning in rows(section(f"### `{kind}`"))}
    for field, words in closed_fields(FRAMES[kind]).items():
        assert set(re.findall(r"`([a-z_]+)`", meanings[field])) - {field} >= words, field


def closed_fields(frame: type[Frame]) -> dict[str, set[str]]:
    schema = msgspec.json.schema(frame)["$defs"][frame.__name__]["properties"]
    return {name: set(kind["enum"]) for name, kind in schema.items() if "enum" in kind and name != "type"}


def test_every_error_code_is_documented_with_what_to_do_and_no_other() -> None:
    assert rows(section("## Error codes")) == [[code.value, code.kind, code.advice] for code in ErrorCode]


def test_every_close_code_is_documented_with_what_to_do_and_no_other() -> None:
    of_the_type = [[str(int(code)), code.meaning, code.reconnects, code.advice] for code in CloseCode]
    assert rows(section("## Close codes")) == of_the_type


def test_every_query_parameter_is_documented() -> None:
    names = [name for name, *_ in rows(section("## Connecting"))]
    values = {"threadId": "t", "agentId": "a", "cursor": "1", "requestId": "r", "attempt": "2", "offset": "3"}
    assert names == list(values)
    hello = parse_query("&".join(f"{name}={values[name]}" for name in names))
    assert list(msgspec.structs.asdict(hello).values()) == ["t", "a", 1, "r", 2, 3]


def test_the_rules_are_numbered_as_everyone_cites_them() -> None:
    assert re.findall(r"^(\d+)\. \*\*", section("## Rules"), re.MULTILINE) == [str(number) for number in range(1, 12)]
