"""The agent that `unbroken serve` answers with when it is given none."""

from __future__ import annotations

from unbroken.adapters.langgraph.demo_agent import demo_graph

graph = demo_graph()
