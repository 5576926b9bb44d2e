"""LangGraph's REST, as its own clients speak it."""
