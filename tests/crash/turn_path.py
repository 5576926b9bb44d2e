"""Which modules a turn passes: every one below these packages in which anything can be suspended, but for those that
are listed here with the reason. So a module that is written tomorrow is on the path tomorrow."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGES: Final = ("application", "adapters.in_process", "adapters.langgraph", "adapters.postgres", "entrypoints")
"""Below `unbroken`. The domain suspends nowhere; what the memory adapter holds does not outlive its process."""

_CLIENT: Final = "the client's process, which nobody kills here; tests/client has its own suite"
_COMMAND: Final = "a command's process, beside a server's"
_AGENT: Final = "an agent's own code"
_HINTS: Final = "costs latency where it is lost, and nothing else"
_PROBE: Final = "changes nothing, and nothing of a turn follows from it"
_RECORD: Final = "what clients write down beside their turns: each change is one transaction"
_MEMORY: Final = "agents' long-term memory: each batch is one transaction of its own, and no turn's"
_CALLER: Final = "who calls, and from where: before anything is accepted"
_CATALOGUE: Final = "threads and assistants as they are listed, named, copied and thrown away: no turn's"
OUTSIDE: Final[Mapping[str, str]] = {
    "application.readiness": _PROBE,
    "entrypoints.web.health": _PROBE,
    "adapters.postgres.health": _PROBE,
    "adapters.postgres.audit": _PROBE,
    "adapters.postgres.hints": _HINTS,
    "application.overhear": _HINTS,
    "entrypoints.bus": _HINTS,
    "adapters.postgres.trouble": _PROBE,
    "adapters.postgres.backlog": _PROBE,
    "entrypoints.web.audit": "tells what has been; a dead letter's revival is one statement, no turn's",
    "entrypoints.observing": "telemetry's own end: what it has not exported is lost with its process",
    "entrypoints.inspection": _COMMAND,
    "application.expire_threads": "deletes threads whose time is over, as `delete_thread` does",
    "adapters.postgres.user_data": "exporting, erasing, expiring: tests/postgres breaks off each of their statements",
    "adapters.langgraph.block_events": "run by hand, within one step of its caller's",
    "adapters.langgraph.demo_agent": _AGENT,
    "adapters.langgraph.committed_values": _PROBE,
    "adapters.langgraph.graph_schemas": _PROBE,
    "adapters.langgraph.reading": _PROBE,
    "adapters.langgraph.thread_states": _PROBE,
    "adapters.langgraph.long_term_store": _MEMORY,
    "adapters.postgres.items": _MEMORY,
    "application.sweep_items": _MEMORY,
    "adapters.postgres.assistants": _RECORD,
    "adapters.postgres.thread_records": _RECORD,
    "adapters.postgres.runs": _PROBE,
    "entrypoints.langgraph_api.assistants_api": _CATALOGUE,
    "entrypoints.langgraph_api.threads": _CATALOGUE,
    "entrypoints.langgraph_api.thread_copies": _CATALOGUE,
    "entrypoints.langgraph_api.thread_views": _CATALOGUE,
    "entrypoints.langgraph_api.store": _MEMORY,
    "entrypoints.langgraph_api.project_rules": _CALLER,
    "entrypoints.langgraph_api.ruled": _CALLER,
    "entrypoints.web.cors": _CALLER,
    "entrypoints.web.project_identity": _CALLER,
    "entrypoints.web.users_app": "a project's own application, around ours",
    "adapters.langgraph.model_agent": _AGENT,
    "adapters.postgres.checkpoint_upkeep": "tools that go around a turn: copying, pruning, deleting by a saver's API",
    "adapters.postgres.embedded": "the database's own start; tests/platform kills in it",
    "adapters.postgres.migrate": _COMMAND,
    "entrypoints.maintenance": _COMMAND,
    "entrypoints.server": "the process's own start and end; tests/platform stops and kills in it",
    **{f"entrypoints.client.{name}": _CLIENT for name in ("chat", "connection", "history", "rest", "talk")},
}


def source_of(module: str) -> Path:
    """The file that `import unbroken.<module>` would compile."""
    package, _, rest = module.partition(".")
    spec = find_spec(f"unbroken.{package}")
    origin = spec.origin if spec is not None else None
    assert origin is not None, f"unbroken.{package} is not installed"
    return Path(origin).parent.joinpath(*rest.split(".")).with_suffix(".py")


def suspends(tree: ast.AST) -> bool:
    """Whether anything in it awaits."""
    kinds = (ast.Await, ast.AsyncWith, ast.AsyncFor)
    return any(isinstance(node, kinds) or getattr(node, "is_async", False) for node in ast.walk(tree))


def _all() -> Iterator[str]:
    for package in PACKAGES:
        folder = source_of(f"{package}.__init__").parent
        for file in sorted(folder.rglob("*.py")):
            if suspends(ast.parse(file.read_text("utf-8"))):
                yield ".".join([package, *file.relative_to(folder).with_suffix("").parts])


SUSPENDING: Final = tuple(_all())
MODULES: Final = tuple(module for module in SUSPENDING if module not in OUTSIDE)
"""On a turn's path, below `unbroken`."""
