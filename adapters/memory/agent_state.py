"""How one commit changes an agent's state: rows first, then the heads that point to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec.structs import replace

from unbroken.adapters.memory.encoding import decode_checkpoint, decode_json, encode_checkpoint, encode_row
from unbroken.adapters.memory.tables import AgentState, Head
from unbroken.domain.checkpoints import CheckpointRow, StateChange, WriteRow


def extended(state: AgentState, change: StateChange) -> AgentState:
    """`state` with the change's rows and heads; no head's base moves.

    A namespace that had no head gets the highest id that stood before as base: what the official saver left there
    is what a failure goes back to.
    """
    if change == StateChange():
        return state
    checkpoints = dict(state.checkpoints)
    for row in change.checkpoints:
        checkpoints[row.checkpoint_ns, row.checkpoint_id] = encode_checkpoint(row)
    blobs = dict(state.blobs)
    for blob in change.blobs:
        blobs.setdefault((blob.checkpoint_ns, blob.channel, blob.version), encode_row(blob))
    heads = dict(state.heads)
    for checkpoint_ns, checkpoint_id in change.heads:
        known = heads.get(checkpoint_ns)
        heads[checkpoint_ns] = Head(checkpoint_id, known.base_id if known else state.highest(checkpoint_ns))
    return AgentState(heads, checkpoints, blobs, _written(state, change.writes))


def _written(
    state: AgentState, rows: tuple[WriteRow, ...]
) -> Mapping[tuple[str, str], Mapping[tuple[str, int], bytes]]:
    writes = dict(state.writes)
    for row in rows:
        place = (row.checkpoint_ns, row.checkpoint_id)
        beside = dict(writes.get(place, {}))
        if row.replaces or (row.task_id, row.idx) not in beside:
            beside[row.task_id, row.idx] = encode_row(row)
        writes[place] = beside
    return writes


def at_rest(state: AgentState, namespaces: Collection[str] | None = None) -> AgentState:
    """These heads (None: all) are what a failure goes back to from here on."""
    heads = {
        ns: Head(head.checkpoint_id, head.checkpoint_id) if namespaces is None or ns in namespaces else head
        for ns, head in state.heads.items()
    }
    return replace(state, heads=heads)


def reverted(state: AgentState) -> AgentState:
    """Every head back to where it stood before the event; the rows stay."""
    return replace(state, heads={ns: Head(head.base_id, head.base_id) for ns, head in state.heads.items()})


def kept(state: AgentState, places: Collection[tuple[str, str]]) -> AgentState:
    """Only these checkpoints, with the blobs they name and the writes beside them.

    A head or base whose checkpoint goes falls back to the nearest ancestor that stays, else to "known to be empty".
    """
    checkpoints = {place: row for place, row in state.checkpoints.items() if place in places}
    named = {
        (ns, channel, str(version))
        for (ns, _), row in checkpoints.items()
        for channel, version in decode_json(decode_checkpoint(row).checkpoint).get("channel_versions", {}).items()
    }
    heads = {
        ns: Head(_surviving(state, ns, head.checkpoint_id, places), _surviving(state, ns, head.base_id, places))
        for ns, head in state.heads.items()
    }
    return AgentState(
        heads=heads,
        checkpoints=checkpoints,
        blobs={place: row for place, row in state.blobs.items() if place in named},
        writes={place: rows for place, rows in state.writes.items() if place in places},
    )


def lineage(state: AgentState, checkpoint_ns: str, checkpoint_id: str | None) -> Iterator[CheckpointRow]:
    """A checkpoint and its ancestors, nearest first, as far as they are stored."""
    while (encoded := state.checkpoints.get((checkpoint_ns, checkpoint_id or ""))) is not None:
        row = decode_checkpoint(encoded)
        yield row
        checkpoint_id = row.parent_id


def _surviving(state: AgentState, checkpoint_ns: str, checkpoint_id: str, places: Collection[tuple[str, str]]) -> str:
    ancestry = (row.checkpoint_id for row in lineage(state, checkpoint_ns, checkpoint_id))
    return next((id_ for id_ in ancestry if (checkpoint_ns, id_) in places), "")
