"""Files in a conversation: whole where the graph runs, references where its state is stored.

A message refers to a file by `{"type": …, "file_id": …}`. What the graph gets in its place is a standard content block:
pictures, audio and documents in base64, text as text. Stored like that, each checkpoint would repeat every file of the
conversation, so the serializer puts the references back.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from unbroken.domain.checkpoints import StoredCheckpoint
from unbroken.domain.errors import UnknownFile
from unbroken.domain.events import ContentBlock
from unbroken.domain.files import StoredFile, file_id_of
from unbroken.domain.utf16 import well_formed

GONE: Final = "(This file is not there any more.)"
TEXTUAL: Final = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml"}
)
MARK: Final = b"file_id"
"""Stands in the bytes of every stored value that refers to a file, whichever way it was serialized."""

ReadFile = Callable[[str], Awaitable[tuple[StoredFile, bytes]]]


class FileText(str):
    """What was made of a file; it knows the block that it stands for. A copy made by an agent's own code is plain text
    and stored as such."""

    __slots__ = ("reference",)
    reference: ContentBlock

    @classmethod
    def of(cls, text: str, reference: ContentBlock) -> FileText:
        made = cls(text)
        made.reference = reference
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> FileText:
        return self


class Attachments:
    """The files of one attempt's conversation, each read once."""

    def __init__(self, read: ReadFile) -> None:
        self._read = read
        self._blocks: dict[str, ContentBlock] = {}

    async def fill(self, value: Any) -> None:
        """Put files in the place of their references, in every message inside `value`, in place."""
        for message in _messages(value):
            if isinstance(message.content, list):
                message.content = [await self._filled(block) for block in message.content]

    async def fill_stored(self, stored: StoredCheckpoint, *values: Any) -> None:
        """The same for what was loaded from `stored`, if that refers to files at all."""
        blobs = (*(blob.blob or b"" for blob in stored.blobs), *(write.blob for write in stored.writes))
        if any(MARK in blob for blob in blobs):
            for value in values:
                await self.fill(value)

    def serde(self, serde: SerializerProtocol) -> SerializerProtocol:
        return _Referring(serde, self)

    def referring(self, value: Any) -> Any:
        """`value`, or a copy of it in which references stand for files."""
        return _referring(value) if self._blocks else value

    async def _filled(self, block: Any) -> Any:
        file_id = file_id_of(block) if isinstance(block, dict) else None
        if file_id is None:
            return block
        if file_id not in self._blocks:
            try:
                self._blocks[file_id] = _standard_block(*await self._read(file_id), block)
            except UnknownFile:
                self._blocks[file_id] = {"type": "text", "text": FileText.of(GONE, block)}
        return dict(self._blocks[file_id])


class _Referring(SerializerProtocol):
    def __init__(self, serde: SerializerProtocol, attachments: Attachments) -> None:
        self._serde = serde
        self._attachments = attachments

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return self._serde.dumps_typed(self._attachments.referring(obj))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return self._serde.loads_typed(data)

    def allowing(self, types: Collection[tuple[str, ...]]) -> _Referring:
        return _Referring(allowing(self._serde, types), self._attachments)


def allowing(serde: SerializerProtocol, types: Collection[tuple[str, ...]]) -> SerializerProtocol:
    """A serializer that makes objects of these types (module, name) as well."""
    if isinstance(serde, _Referring):
        return serde.allowing(types)
    return serde.with_msgpack_allowlist(types) if isinstance(serde, JsonPlusSerializer) else serde


def _standard_block(file: StoredFile, data: bytes, reference: ContentBlock) -> ContentBlock:
    """What models understand, by what the file is, whatever the reference called it."""
    kind, _, _ = file.mime_type.partition("/")
    if kind == "text" or file.mime_type in TEXTUAL:
        text = well_formed(data.decode("utf-8", errors="replace"))
        return {"type": "text", "text": FileText.of(f"{file.name}:\n\n{text}", reference)}
    encoded = FileText.of(base64.b64encode(data).decode(), reference)
    if kind in ("image", "audio"):
        return {"type": kind, "base64": encoded, "mime_type": file.mime_type}
    return {"type": "file", "base64": encoded, "mime_type": file.mime_type, "filename": file.name}


def _messages(value: Any) -> list[BaseMessage]:
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, dict):
        return [message for item in value.values() for message in _messages(item)]
    if isinstance(value, list | tuple):
        return [message for item in value for message in _messages(item)]
    return []


def _referring(value: Any) -> Any:
    """`value`, or a copy of it in which references stand for files."""
    if isinstance(value, BaseMessage):
        if not isinstance(value.content, list):
            return value
        content = [_reference(block) for block in value.content]
        same = all(new is old for new, old in zip(content, value.content, strict=True))
        return value if same else value.model_copy(update={"content": content})
    if type(value) is dict:
        return {key: _referring(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_referring, value))
    return value


def _reference(block: Any) -> Any:
    if isinstance(block, dict):
        for value in block.values():
            if isinstance(value, FileText):
                return value.reference
    return block
