from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from unbroken.adapters.memory.encoding import encode_json
from unbroken.adapters.memory.tables import StoredAssistant
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.catalogue import MAX_ASSISTANTS, MAX_VERSIONS, Assistant, Preset
from unbroken.domain.errors import TooMany, UnknownAssistant
from unbroken.domain.ports.assistants import Assistants
from unbroken.domain.ports.clock import Clock

_decode = msgspec.json.Decoder(Preset).decode


class MemoryAssistants(Assistants):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, user_id: str, assistant_id: str, preset: Preset) -> bool:
        encoded = encode_json("assistant", preset)

        def step(transaction: Transaction) -> bool:
            if transaction.assistants.get((user_id, assistant_id)) is not None:
                return False
            if sum(owner == user_id for (owner, _), _ in transaction.assistants.items()) >= MAX_ASSISTANTS:
                raise TooMany(MAX_ASSISTANTS, "assistants")
            now = self._clock.now()
            stored = StoredAssistant(1, ((encoded, now),), now, now)
            transaction.assistants.put((user_id, assistant_id), stored)
            return True

        return await self._database.run("create_assistant", step)

    async def get(self, user_id: str, assistant_id: str) -> Assistant:
        return await self._database.run(
            "assistant", lambda transaction: _current(assistant_id, _known(transaction, user_id, assistant_id))
        )

    async def list(self, user_id: str) -> Sequence[Assistant]:
        def step(transaction: Transaction) -> list[Assistant]:
            mine = [
                _current(id_, stored) for (owner, id_), stored in transaction.assistants.items() if owner == user_id
            ]
            return sorted(mine, key=lambda assistant: (assistant.created_at, assistant.assistant_id))

        return await self._database.run("assistants", step)

    async def add_version(self, user_id: str, assistant_id: str, preset: Preset) -> Assistant:
        encoded = encode_json("assistant", preset)

        def step(transaction: Transaction) -> Assistant:
            stored = _known(transaction, user_id, assistant_id)
            if len(stored.versions) >= MAX_VERSIONS:
                raise TooMany(MAX_VERSIONS, "versions")
            now = self._clock.now()
            versions = (*stored.versions, (encoded, now))
            stored = replace(stored, versions=versions, version=len(versions), updated_at=now)
            transaction.assistants.put((user_id, assistant_id), stored)
            return _current(assistant_id, stored)

        return await self._database.run("add_version", step)

    async def versions(self, user_id: str, assistant_id: str) -> Sequence[Assistant]:
        def step(transaction: Transaction) -> list[Assistant]:
            stored = _known(transaction, user_id, assistant_id)
            return [
                _told(assistant_id, number, encoded, made, made)
                for number, (encoded, made) in reversed(list(enumerate(stored.versions, 1)))
            ]

        return await self._database.run("versions", step)

    async def set_latest(self, user_id: str, assistant_id: str, version: int) -> Assistant:
        def step(transaction: Transaction) -> Assistant:
            stored = _known(transaction, user_id, assistant_id)
            if not 1 <= version <= len(stored.versions):
                raise UnknownAssistant(assistant_id)
            stored = replace(stored, version=version, updated_at=self._clock.now())
            transaction.assistants.put((user_id, assistant_id), stored)
            return _current(assistant_id, stored)

        return await self._database.run("set_latest", step)

    async def delete(self, user_id: str, assistant_id: str) -> None:
        def step(transaction: Transaction) -> None:
            _known(transaction, user_id, assistant_id)
            transaction.assistants.remove((user_id, assistant_id))

        await self._database.run("delete_assistant", step)


def _known(transaction: Transaction, user_id: str, assistant_id: str) -> StoredAssistant:
    stored = transaction.assistants.get((user_id, assistant_id))
    if stored is None:
        raise UnknownAssistant(assistant_id)
    return stored


def _current(assistant_id: str, stored: StoredAssistant) -> Assistant:
    encoded, _ = stored.versions[stored.version - 1]
    return _told(assistant_id, stored.version, encoded, stored.created_at, stored.updated_at)


def _told(assistant_id: str, version: int, encoded: bytes, created_at: datetime, updated_at: datetime) -> Assistant:
    return Assistant(assistant_id, version, _decode(encoded), created_at, updated_at)
