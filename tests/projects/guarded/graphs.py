"""A graph that says for whom it runs, and one that is made for nobody whom its project does not know."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_sdk.runtime import ServerRuntime


def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    user = config["configurable"].get("langgraph_auth_user")
    if user is None:
        return {"messages": [AIMessage("for nobody in particular")]}
    return {
        "messages": [
            AIMessage(f"for {user.identity}, {user['team']}, {config['configurable']['langgraph_auth_user_id']}")
        ]
    }


def made(runtime: ServerRuntime, config: RunnableConfig) -> Any:
    user = runtime.user
    if user is None or user["team"] != "red" or config["configurable"]["langgraph_auth_user_id"] != user.identity:
        raise PermissionError(f"{runtime.access_context}: for whom?")
    return graph


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
