"""An agent whose every failure repeats what it was told, in each way that a library or a careless node knows."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


async def blurt(said: str) -> None:
    raise RuntimeError(f"a forgotten task was told {said}")


def fail_in_thread(said: str) -> None:
    raise RuntimeError(f"a thread was told {said}")


class Falling:
    """Its finaliser fails."""

    def __init__(self, said: str) -> None:
        self.said = said

    def __del__(self) -> None:
        raise RuntimeError(f"a finaliser was told {self.said}")


async def answer(state: MessagesState) -> dict[str, Any]:
    said = str(state["messages"][-1].text)
    logging.getLogger("langgraph.pregel._retry").info("Retrying after ValueError %s", said)
    logging.getLogger("httpx").warning(f"POST with {said}")  # noqa: G004 - libraries do
    warnings.warn(f"PydanticSerializationUnexpectedValue(input_value={said!r})", UserWarning, stacklevel=1)
    logging.getLogger("an.agent").warning("%d words", said)
    Falling(said)
    thread = threading.Thread(target=fail_in_thread, args=(said,))
    thread.start()
    thread.join()
    asyncio.get_running_loop().create_task(blurt(said))
    await asyncio.sleep(0.01)
    if "fail" in said:
        raise ValueError(f"the provider refused {said!r}")
    if "ask" in said:
        said = str(interrupt({"question": f"do you mean {said}?"}))
    if "wait" in said:
        await asyncio.sleep(60)
    return {"messages": [AIMessage(content=f"you said {said}")]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
