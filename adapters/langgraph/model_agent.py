"""The bundled agent with a real model behind it: one node, any provider that LangChain knows."""

from __future__ import annotations

import os
from typing import Any

from langchain.chat_models import init_chat_model
from langgraph.graph import START, MessagesState, StateGraph

from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.errors import InvalidValue


def model_graph(model: str, base_url: str | None = None) -> Graph:
    """`model`: `provider:model`, e.g. `openai:gpt-4o-mini`; `base_url`: of a server that speaks OpenAI's protocol.

    Keys come from the provider's own environment variables. Raises InvalidValue in one line.
    """
    options: dict[str, Any] = {}
    if base_url:
        options["base_url"] = base_url
        if model.startswith("openai:") and not os.environ.get("OPENAI_API_KEY"):
            options["api_key"] = "none"  # local servers ask for no key, but the client does
    try:
        chat_model = init_chat_model(model, **options)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise InvalidValue("UNBROKEN_MODEL", f"{model}: {type(error).__name__}: {first}") from error

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat_model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
