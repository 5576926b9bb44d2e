from __future__ import annotations

from collections.abc import Sequence

from unbroken.adapters.memory.agent_state import kept, lineage
from unbroken.adapters.memory.encoding import decode_checkpoint, decode_json
from unbroken.adapters.memory.pruning import DELTA_MARKS
from unbroken.adapters.memory.tables import AgentState
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.checkpoint_upkeep import CheckpointUpkeep


class MemoryCheckpointUpkeep(CheckpointUpkeep):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete_thread(self, thread_id: str) -> None:
        await self._database.run("delete_thread", lambda transaction: transaction.agent_states.remove(thread_id))

    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        doomed = frozenset(run_ids)

        def step(transaction: Transaction) -> None:
            for thread_id, state in transaction.agent_states.items():
                stay = {place for place, row in state.checkpoints.items() if _metadata(row).get("run_id") not in doomed}
                if len(stay) < len(state.checkpoints):
                    transaction.agent_states.put(thread_id, kept(state, stay))

        await self._database.run("delete_runs", step)

    async def copy_thread(self, source: str, target: str) -> None:
        def step(transaction: Transaction) -> None:
            there = transaction.agent_states.get(target)
            if there is not None and (there.checkpoints or there.heads):
                raise InvalidValue("target", f"thread {target!r} holds checkpoints already")
            if (state := transaction.agent_states.get(source)) is not None:
                transaction.agent_states.put(target, state)

        await self._database.run("copy_thread", step)

    async def prune(self, thread_ids: Sequence[str], *, keep_latest: bool) -> None:
        def step(transaction: Transaction) -> None:
            for thread_id in thread_ids:
                if (state := transaction.agent_states.get(thread_id)) is None:
                    continue
                if keep_latest:
                    transaction.agent_states.put(thread_id, kept(state, _reached(state)))
                else:
                    transaction.agent_states.remove(thread_id)

        await self._database.run("prune", step)


def _metadata(encoded: bytes) -> dict[str, object]:
    metadata: dict[str, object] = decode_json(decode_checkpoint(encoded).metadata)
    return metadata


def _reached(state: AgentState) -> set[tuple[str, str]]:
    """What heads and bases point to (the highest id where no head was set), with every ancestor it is built from."""
    tips = {(ns, id_) for ns, head in state.heads.items() for id_ in (head.checkpoint_id, head.base_id)}
    tips |= {(ns, state.highest(ns)) for ns, _ in state.checkpoints if ns not in state.heads}
    reached: set[tuple[str, str]] = set()
    for ns, tip in tips:
        for row in lineage(state, ns, tip):
            reached.add((ns, row.checkpoint_id))
            if decode_json(row.metadata).keys().isdisjoint(DELTA_MARKS):
                break
    return reached
