"""LangGraph's own clients, as they come from their registries, against Unbroken and against LangGraph's own server.

`python -m tests.stock --help` runs the same cases outside pytest and writes docs/compatibility.md.
"""
