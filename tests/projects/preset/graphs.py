"""Graphs that do as their run's config and context say, and one that cannot be made without them."""

from dataclasses import dataclass

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime


@dataclass
class Context:
    tenant: str = "nobody"


def ask(state: MessagesState, config: RunnableConfig, runtime: Runtime[Context]) -> dict[str, list[AIMessage]]:
    answers = [interrupt("first?"), interrupt("second?")]
    model = config["configurable"].get("model", "none")
    return {"messages": [AIMessage(f"{' '.join(answers)}: {runtime.context.tenant}, {model}")]}


asking = StateGraph(MessagesState, context_schema=Context).add_node("ask", ask).add_edge(START, "ask").compile()


def made(config: RunnableConfig) -> StateGraph:
    model = config["configurable"]["model"]

    def speak(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [AIMessage(f"{model} says {len(state['messages'])}")]}

    return StateGraph(MessagesState).add_node(f"speak-{model}", speak).add_edge(START, f"speak-{model}")


def unreadable(runtime: ServerRuntime) -> StateGraph:
    if runtime.access_context != "threads.create_run":
        raise RuntimeError("nothing is made to be looked at")
    return made({"configurable": {"model": "m1"}})
