"""`UNBROKEN_MODEL` through the whole server: a model behind a base URL, over real sockets on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmock.pytest_plugin import LLMock

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server


@pytest.mark.asyncio
async def test_a_model_that_breaks_off_mid_answer_is_asked_again_and_its_answer_streams(
    llmock: LLMock, folder: Path
) -> None:
    said = " ".join(f"word{number}" for number in range(20))
    llmock.reply(said)
    llmock.disconnect(after_chunks=5)
    llmock.reply(said)
    model = {"UNBROKEN_MODEL": "openai:any", "UNBROKEN_MODEL_BASE_URL": llmock.base_url(), "OPENAI_API_KEY": "none"}
    with Server(folder, arguments=["--in-memory"], environment=model) as server:
        async with Client(server.url, thread="t", agent="assistant") as client:
            (answer,) = await client.answered(await client.say("hello"))
    assert client.view.faults == []
    assert (answer["message"], answer["attempt"]) == (said, 2)
    attempts = [frame["attempt"] for frame in client.view.frames if frame["type"] == "token"]
    assert set(attempts) == {1, 2}
    assert attempts.count(2) > 1
