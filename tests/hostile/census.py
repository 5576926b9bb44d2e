"""An agent that tells what the server process it runs in holds: the only way to ask it from outside."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from typing import Any, Final

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from tests.hostile.in_use import measured
from unbroken.application.live_sessions import LiveSession
from unbroken.application.subscribe import Subscription
from unbroken.entrypoints.web.connection import Connection

COUNTED: Final = (LiveSession, Subscription, Connection)


async def answer(state: MessagesState) -> dict[str, Any]:
    for _ in range(3):
        gc.collect()
    in_use = measured()
    held = Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in COUNTED)
    held["tasks"] = len(asyncio.all_tasks())
    return {
        "messages": [AIMessage(content=json.dumps({"held": held, "c_bytes": in_use.c_bytes, "blocks": in_use.blocks}))]
    }


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
