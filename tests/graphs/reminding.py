"""An agent that sets a timer when told `remind=0.5`, and answers again when it fires."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from tests.graphs.scripted import ScriptedModel, said
from tests.graphs.speech import option
from unbroken.adapters.langgraph.effects import Effects, schedule_timer


class State(MessagesState):
    effects: Effects


async def answer(state: State) -> dict[str, Any]:
    spoken = await ScriptedModel().ainvoke(state["messages"])
    last = state["messages"][-1]
    after_s = option(said([last]), "remind", -1.0)
    if after_s < 0 or last.name == "timer":
        return {"messages": [spoken]}
    return {
        "messages": [spoken],
        "effects": [schedule_timer(after_s, payload={"set by": last.id}, timer_id="reminder")],
    }


graph = StateGraph(State).add_node(answer).add_edge(START, "answer").compile()
