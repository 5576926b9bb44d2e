"""Whatever a state holds is JSON in the end, and the same for stores and for clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Send
from pydantic import BaseModel

from unbroken.adapters.langgraph.json_values import as_json, json_of


class Held(BaseModel):
    anything: Any


class Opaque:
    def __str__(self) -> str:
        return "half \ud83d"


@dataclass
class Fields:
    name: str


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Held(anything={"deep": Held(anything=(1, b"\xff"))}), {"anything": {"deep": {"anything": [1, "/w=="]}}}),
        (Held, str(Held)),
        (Send("node", {"x": Fields("a")}), {"node": "node", "args": {"x": {"name": "a"}}}),
        ({(1, 2): "pair", None: "nothing", 3: "number"}, {"(1, 2)": "pair", "None": "nothing", "3": "number"}),
        ({"\ud83d": ["\ud83d\ude00 \ud83d", "nul \0"]}, {"\ufffd": ["\U0001f600 \ufffd", "nul \ufffd"]}),
        ({(1, "\ud83d"): Opaque()}, {"(1, '\ufffd')": "half \ufffd"}),
        (Held(anything=Opaque()), {"anything": "half \ufffd"}),
        ("the text \\u0000 of a program", "the text \\u0000 of a program"),
        ([float("nan"), float("inf"), 2.5, True, None], [None, None, 2.5, True, None]),
    ],
)
def test_any_value_becomes_json_that_jsonb_takes(value: Any, shown: Any) -> None:
    encoded = json_of(value)
    assert msgspec.json.decode(encoded) == as_json(value) == shown
    assert b"\0" not in encoded.replace(b"\\\\u0000", b"").replace(b"\\u0000", b"\0")


def test_a_message_is_its_fields_and_shares_nothing_with_them() -> None:
    message = HumanMessage([{"type": "text", "text": "hello"}], id="one")
    shown = as_json(message)
    assert (shown["id"], shown["type"], shown["content"]) == ("one", "human", message.content)
    assert shown["content"][0] is not message.content[0]
