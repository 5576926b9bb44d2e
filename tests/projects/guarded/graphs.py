"""A graph that says for whom it runs."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph


def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    user = config["configurable"].get("langgraph_auth_user")
    if user is None:
        return {"messages": [AIMessage("for nobody in particular")]}
    return {
        "messages": [
            AIMessage(f"for {user.identity}, {user['team']}, {config['configurable']['langgraph_auth_user_id']}")
        ]
    }


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
