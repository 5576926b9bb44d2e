"""docs/protocol.md says of the agent protocol what its types say: nothing more, nothing less."""

from __future__ import annotations

import re

import msgspec
import pytest

from tests.web.test_protocol_document import documented, rows, section
from unbroken.entrypoints.agent_protocol.wire import CHANNELS, NOT_SUPPORTED, PARAMS, ErrorCode


def test_every_command_is_documented_and_no_other() -> None:
    assert re.findall(r"^### `([\w.]+)`$", section("## Commands"), re.MULTILINE) == list(PARAMS)
    assert documented("## Frames from the client"), "the chat protocol's part is still found"


@pytest.mark.parametrize("method", PARAMS)
def test_every_parameter_of_a_command_is_documented_and_no_other(method: str) -> None:
    fields = msgspec.structs.fields(PARAMS[method])
    of_the_type = {field.encode_name: "always" if field.required else "optional" for field in fields}
    assert {name: presence for name, presence, _ in rows(section(f"### `{method}`"))} == of_the_type


def test_every_channel_is_documented() -> None:
    (meaning,) = (row[2] for row in rows(section("### `subscription.subscribe`")) if row[0] == "channels")
    assert set(re.findall(r"`(\w+)`", meaning)) == CHANNELS


def test_every_refusal_is_documented_and_no_other() -> None:
    found = rows(section("## Refused commands"))
    assert [code for code, _ in found] == [code.value for code in ErrorCode]
    assert set(re.findall(r"`([\w.]+)`", dict(found)["not_supported"])) == NOT_SUPPORTED
