"""docs/compatibility.md: case by case, what agrees and what differs, from what was recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.stock.cases import Case, Shown
from tests.stock.reasons import REASONS
from tests.stock.records import DIFFERENT, ORACLE, recorded

WHERE = Path(__file__).parents[2] / "docs" / "compatibility.md"
HEAD = """# What LangGraph's own clients see

`langgraph-sdk` {python} (Python) and `@langchain/langgraph-sdk` {js} (JavaScript), as they come from their registries,
play the same cases against LangGraph's development server (`langgraph dev`, langgraph-api 0.16.7) and against
Unbroken: [tests/stock](../tests/stock). What a client ends with is compared as it is, without ids and times. Each case
runs against Unbroken in `make check`; LangGraph's server is not needed there, its results are kept in
`tests/stock/oracle.json`. To play them anew:

```
python -m tests.stock --oracle /path/to/langgraph --record    # pip install "langgraph-cli[inmem]" langchain-openai
python -m tests.stock --unbroken --record
python -m tests.stock --table
```

Of {number} cases {agree} agree. Where they differ, the reason is given; below the table is what each client ended with.
`useStream` of `@langchain/react` (over the Agent Streaming Protocol) and of `@langchain/langgraph-sdk/react` (over the
classic REST) is tried in Chromium by `tests/stock/test_use_stream.py`: streaming, a reload, a second message, a
question answered after a reload, a tool, and a `kill -9` in mid-answer. A server that is away for longer than 16 s is
given up by these clients, by design: [front-ends.md](front-ends.md) has the numbers, and what to do. `agent-chat-ui`
was tried by hand: see there.

![useStream after a kill -9 in mid-answer](pictures/use-stream.png)

| client | case | LangGraph's server | Unbroken |
|---|---|---|---|
"""


MEANT = """
## Otherwise on purpose

What no case above shows, because nothing of it is a run that goes as planned:

- **A run that fails leaves nothing pending.** Where something of it was shown or committed, that stays; otherwise the
  thread is as it was before. `next` is empty, the error stands at the run and not at the thread, and a run with
  `input: null` does not try the failed node again: send the input again, or go on from a checkpoint of the history
  (`checkpoint_id`). A thread is never stuck on a node that fails each time.
- **What goes on inside a run is told while it goes on.** Messages, values and questions are kept, and whoever comes
  back hears of them, at any replica and after a crash. `updates`, `custom`, `tasks`, `checkpoints` and `debug` are
  not: with `Last-Event-ID` they go on while the run does, and are not told again once it has ended.
- **A thread is one graph's and one user's.** Another graph in it is refused with 409. A project's rules narrow what a
  user sees of the own threads; they cannot show somebody else's.
- `configurable.user_id` and `thread_id` are the server's to say. `metadata.attempt` counts the attempts of the
  thread's runs, and so is not 1 in its second run.
- A superstep that changes nothing of a graph's output tells `values` all the same, the same ones once more. A context
  that is given to an assistant later replaces what was configurable, and no other part of its config.
- Joining a run of a graph with an output schema gives its output, also once it has ended; LangGraph's server then
  gives the thread's whole state.
- The state of a subgraph is read, and not changed. A timer's turn is nobody's: there is no `langgraph_auth_user` in
  it.
- **Refused with a sentence:** crons, webhooks, `after_seconds`, `stream_mode: events`, `supersteps`, `extract`, a
  `ttl` for one thread, deleting a run, deleting an assistant's threads with it, changing the assistant that a graph
  has by itself. Bodies end at `UNBROKEN_MAX_FRAME_BYTES` (413).
"""


def table(cases: Sequence[Case], *, python: str, js: str) -> str:
    ordered = sorted(cases, key=lambda found: found.name.split("/")[:2])
    agree = sum(found.name not in REASONS for found in ordered)
    lines = [HEAD.format(python=python, js=js, number=len(ordered), agree=agree)]
    lines += [_row(found) for found in ordered]
    lines += [MEANT]
    lines += ["\n## What differs\n\n", "The first line is LangGraph's server, the second Unbroken.\n"]
    lines += [_difference(found) for found in ordered if found.name in REASONS]
    return "".join(lines)


def _row(found: Case) -> str:
    client, _, case = found.name.rpartition("/")
    reason = REASONS.get(found.name)
    verdict = "agrees" if reason is None else f"**differs**: {reason}"
    return f"| {client} | `{case}`: {found.title} | {_failed(recorded(ORACLE)[found.name])} | {verdict} |\n"


def _failed(shown: Shown) -> str:
    """A client that ended with an error of its own says so."""
    raised = shown.get("raised") if isinstance(shown, dict) else None
    return "✓" if raised is None else f"fails: {raised}"


def _difference(found: Case) -> str:
    shown = [json.dumps(recorded(where)[found.name], ensure_ascii=False) for where in (ORACLE, DIFFERENT)]
    return f"\n`{found.name}`\n\n```\n" + "\n".join(shown) + "\n```\n"
