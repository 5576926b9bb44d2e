"""`UNBROKEN_MODEL` over a real socket, against a server that speaks OpenAI's streaming and breaks on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from langchain_openai.chat_models import _client_utils
from llmock.pytest_plugin import LLMock

from tests.langgraph.driving import Chat
from unbroken.adapters.langgraph.loading import load_graphs
from unbroken.adapters.langgraph.model_agent import model_graph
from unbroken.domain.errors import AgentRaised, InvalidValue

MODEL = "openai:gpt-4o-mini"


@pytest_asyncio.fixture(autouse=True)
async def own_connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """langchain-openai keeps one HTTP client a process, bound to the first event loop that used it."""
    built: list[Any] = []
    build = _client_utils._build_async_httpx_client

    def remembering(*args: Any, **kwargs: Any) -> Any:
        built.append(build(*args, **kwargs))
        return built[-1]

    monkeypatch.setattr(_client_utils, "_build_async_httpx_client", remembering)
    _client_utils._cached_async_httpx_client.cache_clear()
    yield
    _client_utils._cached_async_httpx_client.cache_clear()
    for client in built:
        await client.aclose()


@pytest.mark.asyncio
async def test_a_model_behind_a_base_url_streams_its_answer(llmock: LLMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    llmock.reply("one two three four five six")
    chat = Chat(model_graph(MODEL, llmock.base_url()))
    answer = await chat.say("hello")
    assert answer.text == chat.seen.stream.text == "one two three four five six"
    assert len(chat.seen.chunks) > 1
    assert len({message_id for message_id, _ in chat.seen.chunks}) == 1
    llmock.reply("seven")
    assert (await chat.say("again")).text == "seven"
    assert [text for _, text in await chat.spoken()] == ["hello", "one two three four five six", "again", "seven"]


@pytest.mark.asyncio
async def test_a_connection_that_breaks_mid_answer_may_be_tried_again(llmock: LLMock) -> None:
    llmock.reply("one two three four five six")
    llmock.disconnect(after_chunks=2)
    chat = Chat(model_graph(MODEL, llmock.base_url()))
    claim = await chat.accept("hello")
    with pytest.raises(AgentRaised) as raised:
        await chat.run(claim)
    assert raised.value.retryable
    assert (await chat.run(await chat.reclaim())).text


@pytest.mark.asyncio
@pytest.mark.parametrize(("status", "retryable"), [(401, False), (400, False), (503, True)])
async def test_a_providers_refusal_says_whether_it_may_pass(llmock: LLMock, status: int, retryable: bool) -> None:
    llmock.fail(status, times=10)
    with pytest.raises(AgentRaised) as raised:
        await Chat(model_graph(MODEL, llmock.base_url())).say("hello")
    assert raised.value.retryable is retryable
    assert "\n" not in str(raised.value)


@pytest.mark.asyncio
@pytest.mark.parametrize("model", ["nosuchprovider:x", "openai"])
async def test_a_wrong_model_is_one_line(model: str) -> None:
    with pytest.raises(InvalidValue, match="UNBROKEN_MODEL") as raised:
        load_graphs([], model=model)
    assert "\n" not in str(raised.value)
