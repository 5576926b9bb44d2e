from __future__ import annotations

from collections.abc import Collection

from unbroken.adapters.memory.encoding import encode_json
from unbroken.adapters.memory.tables import File
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import NotYourThread, ThreadDeleted, TooManyFiles, UnknownFile
from unbroken.domain.files import StoredFile
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.files import Files
from unbroken.domain.session import SessionKey


class MemoryFiles(Files):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, user_id: str, thread_id: str, *, file_id: str, name: str, mime_type: str, data: bytes, limit: int
    ) -> StoredFile:
        encode_json("name", [name, mime_type])

        def step(transaction: Transaction) -> StoredFile:
            session = transaction.sessions.get(thread_id)
            if session is None or session.key.user_id != user_id:
                raise NotYourThread(thread_id)
            if session.deleted:
                raise ThreadDeleted(thread_id)
            files = transaction.files.get(thread_id) or {}
            if len(files) >= limit:
                raise TooManyFiles(limit)
            file = File(name, mime_type, bytes(data), self._clock.now())
            transaction.files.put(thread_id, {**files, file_id: file})
            return _stored(file_id, file)

        return await self._database.run("add_file", step)

    async def read(self, user_id: str, thread_id: str, file_id: str) -> tuple[StoredFile, bytes]:
        def step(transaction: Transaction) -> tuple[StoredFile, bytes]:
            session = transaction.sessions.get(thread_id)
            file = (transaction.files.get(thread_id) or {}).get(file_id)
            if session is None or session.key.user_id != user_id or file is None:
                raise UnknownFile(file_id)
            return _stored(file_id, file), file.data

        return await self._database.run("read_file", step)

    async def missing(self, key: SessionKey, file_ids: Collection[str]) -> frozenset[str]:
        def step(transaction: Transaction) -> frozenset[str]:
            session = transaction.sessions.get(key.thread_id)
            if session is None or session.key != key:
                return frozenset(file_ids)
            return frozenset(file_ids) - (transaction.files.get(key.thread_id) or {}).keys()

        return await self._database.run("missing_files", step)


def _stored(file_id: str, file: File) -> StoredFile:
    return StoredFile(file_id, file.name, file.mime_type, len(file.data))
