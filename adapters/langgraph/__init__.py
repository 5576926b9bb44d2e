"""Any compiled LangGraph graph as an Agent: loading it, running it, and the staging checkpoint saver."""
