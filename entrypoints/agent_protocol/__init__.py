"""The Agent Streaming Protocol: a second codec over the same use cases, for LangGraph's own clients."""
