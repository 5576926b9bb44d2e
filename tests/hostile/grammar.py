"""The frames' grammar for Hypothesis: right ones, ones with each field spoilt, sequences of them, and noise.

What it finds, it makes small; `mischief` draws from the same nasty texts for volume.
"""

from __future__ import annotations

import json
from typing import Final

from hypothesis import strategies as st

from tests.hostile.nasty import NAMES, RAW, SNIPPETS, TYPES, VALUES, WHOLE


def written(fields: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}:{value}" for name, value in fields) + "}"


ANY_TEXT: Final = st.text(st.characters(codec=None, categories=None), max_size=60)
JSON_TEXT: Final = st.recursive(
    st.sampled_from(VALUES) | ANY_TEXT.map(json.dumps) | st.integers().map(str) | st.floats().map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(ANY_TEXT.map(json.dumps), inner), max_size=4).map(written)
    ),
    max_leaves=8,
)
"""Mostly JSON."""
REQUESTS: Final = st.sampled_from(["m-1", "m-2", "ann-0", "bob-0", "timer:x", "A" * 128, "a:b.c_d-e"])
FIELDS: Final = {
    "message": {
        "requestId": REQUESTS.map(json.dumps),
        "content": st.sampled_from(['"hello"', '[{"type":"text","text":"hi"}]']),
        "threadId": st.sampled_from(['"bob"', '"ann"']),
        "whenBusy": st.sampled_from(['"enqueue"', '"reject"', '"interrupt"', '"rollback"']),
        "replaces": REQUESTS.map(json.dumps),
    },
    "respond": {
        "requestId": REQUESTS.map(json.dumps),
        "interruptId": st.sampled_from(['"ask-1"', '"nobody asked"']),
        "value": JSON_TEXT,
    },
    "cancel": {"requestId": REQUESTS.map(json.dumps)},
    "ack": {"cursor": st.integers(0, 6).map(str)},
}


@st.composite
def right(draw: st.DrawFn) -> list[tuple[str, str]]:
    kind = draw(st.sampled_from(sorted(FIELDS)))
    optional = {"threadId", "whenBusy", "replaces"}
    fields = [(json.dumps(n), draw(s)) for n, s in FIELDS[kind].items() if n not in optional or draw(st.booleans())]
    return [('"type"', json.dumps(kind)), *fields]


@st.composite
def nearly(draw: st.DrawFn) -> str:
    """A right frame with some of its fields missing, doubled, renamed, added, or of a value that cannot be."""
    fields = draw(right())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(fields) - 1))
        name, value = fields[at]
        change = draw(st.sampled_from(["value", "type", "name", "missing", "twice", "more"]))
        spoilt = draw(st.sampled_from(TYPES) if change == "type" else JSON_TEXT)
        if change in ("value", "type"):
            fields[at] = (name, spoilt)
        elif change == "name":
            fields[at] = (draw(st.sampled_from(NAMES)), value)
        elif change == "missing" and len(fields) > 1:
            del fields[at]
        else:
            fields.append((name if change == "twice" else draw(st.sampled_from(NAMES)), spoilt))
    return written(fields)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = written(draw(right()))
    low = draw(st.integers(0, len(text)))
    high = draw(st.integers(low, len(text)))
    return text[:low] + draw(st.sampled_from(("", *SNIPPETS))) + text[high:]


FRAMES: Final = (
    right().map(written)
    | nearly()
    | damaged()
    | st.sampled_from(WHOLE)
    | ANY_TEXT
    | st.sampled_from(RAW)
    | st.binary(max_size=60)
)
SEQUENCES: Final = st.lists(FRAMES, min_size=1, max_size=30)
