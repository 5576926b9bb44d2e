"""Messages that this process has read or stored are not validated, nor dumped, anew in each turn.

A long conversation is one value: LangGraph loads all of it at the start of a turn and dumps all of it at the end.
Nearly all of that is pydantic's work on messages that are as they were. Here a message that was once loaded from its
stored bytes is remembered as those bytes and as its plain fields, packed; no object is kept. From the packed fields
comes a fresh object each time, so nothing that a node does to a message reaches another turn. And a message whose
fields pack to the same bytes as those of one that is known is stored as that one is, so one that was changed in place
is not, whoever changed it.

    stored list    │ array │ part │ part │ …
    part           │ ext, class's name │ fields │ "model_validate_json" │
                     └─ opening ──────┘ └──────┘ └─ CLOSING ───────────┘
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from msgspec import Struct
from msgspec.structs import replace
from ormsgpack import (
    OPT_NON_STR_KEYS,
    OPT_PASSTHROUGH_DATACLASS,
    OPT_PASSTHROUGH_DATETIME,
    OPT_PASSTHROUGH_ENUM,
    OPT_PASSTHROUGH_SUBCLASS,
    OPT_PASSTHROUGH_TUPLE,
    OPT_PASSTHROUGH_UUID,
    OPT_REPLACE_SURROGATES,
    Ext,
    MsgpackEncodeError,
    packb,
    unpackb,
)
from pydantic import BaseModel

from unbroken.domain.checkpoints import StoredCheckpoint

CLASSES: Final[frozenset[type[BaseMessage]]] = frozenset(
    {AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage}
)
"""Exactly these: what they dump is their fields. A subclass may add what its fields do not tell."""

FIELDS: Final[dict[type[BaseMessage], frozenset[str]]] = {kind: frozenset(kind.model_fields) for kind in CLASSES}
CLOSING: Final = packb("model_validate_json")
STRICT: Final = (
    OPT_PASSTHROUGH_DATACLASS
    | OPT_PASSTHROUGH_DATETIME
    | OPT_PASSTHROUGH_ENUM
    | OPT_PASSTHROUGH_SUBCLASS
    | OPT_PASSTHROUGH_TUPLE
    | OPT_PASSTHROUGH_UUID
    | OPT_REPLACE_SURROGATES
)
"""As the official serializer packs, but whatever is not plain is refused rather than packed as something plain."""

MODULE: Final = b"langchain_core.messages."
FIRST_PART: Final = slice(0, 48)
"""Within it stands the module of the first message's class, if the list's items are messages."""

MOST_LISTS: Final = 8
"""Held during an attempt: its head's, and what it reads of other checkpoints."""
PART_BYTES: Final = 200
"""What remembering one message costs beside its bytes: the objects that hold them, and their places."""

LIST_BYTES: Final = 400
"""And one list: short conversations are little else."""

_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


class Part(Struct, gc=False, frozen=True):
    """One stored message: `opening + fields + closing`. Outside the collector's sight: a long conversation would be a
    thousand objects more to walk, and nothing here can be part of a cycle."""

    opening: bytes
    fields: bytes = b""
    closing: bytes = b""
    kind: type[BaseMessage] | None = None
    """The class of what is made of the fields. None: it was not loaded here yet, or there is more to it than its
    fields; then `opening` is all of it."""
    loaded: bool = False
    proven: bool = False
    """A message with these fields was dumped here, and these bytes came of it."""


NOTHING: Final = Part(b"")


class KnownMessages:
    """Stored lists of messages, in parts; found by the very object that holds their bytes, so nothing is compared."""

    def __init__(self, lists: Iterable[tuple[bytes, Sequence[Part]]] = ()) -> None:
        self._lists = OrderedDict((id(data), (data, parts)) for data, parts in lists)
        self._by_fields: dict[bytes | None, Part] = {}
        self._latest: Sequence[Part] = ()
        """The list that was read last: the next one to be stored is mostly that one and something at its end."""

    def parts(self, data: bytes) -> Sequence[Part] | None:
        held = self._lists.get(id(data))
        return held[1] if held is not None else None

    def remember(self, data: bytes, parts: Sequence[Part]) -> None:
        self._lists[id(data)] = (data, parts)
        self._lists.move_to_end(id(data))
        if len(self._lists) > MOST_LISTS:
            self._lists.popitem(last=False)

    def learn(self, parts: Sequence[Part]) -> None:
        self._latest = parts
        self._by_fields.update((part.fields, part) for part in parts if part.kind is not None)

    def like(self, messages: Sequence[BaseMessage]) -> list[Part]:
        """For each of these, the stored message that has the same class and fields, or NOTHING."""
        found = []
        for message, guess in zip(messages, chain(self._latest, repeat(NOTHING)), strict=False):
            kind = type(message)
            fields = _packed(message) if kind in CLASSES and not message.__pydantic_extra__ else None
            part = guess if guess.fields == fields else self._by_fields.get(fields, NOTHING)
            found.append(part if part.kind is kind else NOTHING)
        return found

    def keep(self, head: StoredCheckpoint | None) -> None:
        """Forget the lists of all other checkpoints."""
        kept = {id(blob.blob) for blob in head.blobs} if head is not None else set()
        self._lists = OrderedDict((id_, held) for id_, held in self._lists.items() if id_ in kept)

    def at_rest(self) -> KnownMessages:
        """What is worth keeping until the next turn: the rest follows from the lists."""
        return KnownMessages(self._lists.values())

    @property
    def size(self) -> int:
        """Bytes of memory, without the stored lists themselves."""
        return sum(LIST_BYTES + len(data) + len(parts) * PART_BYTES for data, parts in self._lists.values())


class SplicingSerializer(JsonPlusSerializer):
    """The official serializer, byte for byte, that repeats no work on messages that are known."""

    def __init__(self, known: KnownMessages) -> None:
        super().__init__()
        self.known = known

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        type_, stored = data
        parts = self.known.parts(stored) if type_ == "msgpack" else None
        if parts is not None:
            made = zip(parts, _made(parts), strict=True)
            messages = [self._loaded(part) if message is None else message for part, message in made]
        else:
            messages = super().loads_typed(data)
            parts = _split(stored) if type_ == "msgpack" else None
            if parts is None:
                return messages
        self._learn(stored, parts, messages)
        return messages

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        if type(obj) is not list or not obj or not all(isinstance(item, BaseMessage) for item in obj):
            return super().dumps_typed(obj)
        like = self.known.like(obj)
        pairs = zip(like, obj, strict=True)
        parts = [part if part.proven else self._dumped(part, message) for part, message in pairs]
        if any(now.proven and not then.proven for now, then in zip(parts, like, strict=True)):
            self.known.learn(parts)  # the next superstep of this turn dumps the list again
        pieces = [piece for part in parts for piece in (part.opening, part.fields, part.closing)]
        stored = b"".join((_array_of(len(parts)), *pieces))
        self.known.remember(stored, parts)
        return "msgpack", stored

    def _dumped(self, like: Part, message: BaseMessage) -> Part:
        _, stored = super().dumps_typed(message)
        if like.kind is not None and stored == like.opening + like.fields + like.closing:
            return replace(like, proven=True)
        return Part(stored)

    def _loaded(self, part: Part) -> Any:
        return super().loads_typed(("msgpack", part.opening))

    def _learn(self, stored: bytes, parts: Sequence[Part], messages: Sequence[Any]) -> None:
        if not all(part.loaded for part in parts):
            pairs = zip(parts, messages, strict=True)
            parts = [part if part.loaded else _learnt(part, message) for part, message in pairs]
        self.known.remember(stored, parts)
        self.known.learn(parts)


def _learnt(part: Part, message: Any) -> Part:
    """`message` was just loaded from `part`. Made again from its fields is what is nothing but its fields, all of them
    given."""
    kind, stored = type(message), part.opening
    if kind in CLASSES and message.__pydantic_fields_set__ == FIELDS[kind] and not message.__pydantic_extra__:
        fields = _packed(message)
        if fields and stored.endswith(fields + CLOSING):
            return Part(stored[: -len(fields) - len(CLOSING)], fields, CLOSING, kind, loaded=True)
    return Part(stored, loaded=True)


def _packed(message: BaseMessage) -> bytes | None:
    """The message's fields. None: not all that is in them is plain."""
    try:
        return packb(message.__dict__, None, option=STRICT)
    except MsgpackEncodeError:
        return None


def _made(parts: Sequence[Part]) -> Iterator[BaseMessage | None]:
    """What validating each part would make and has made once; None where the fields alone do not tell.

    Messages share the set of the fields that were given, all of them: a set for each would cost as much as the rest.
    Who sets what is no field adds its name to the set, for all of this load; neither dumps nor later loads look there.
    """
    all_fields = {kind: set(fields) for kind, fields in FIELDS.items()}
    for part in parts:
        kind = part.kind
        if kind is None:
            yield None
            continue
        message = kind.__new__(kind)
        _set_fields(message, unpackb(part.fields))
        _set_fields_set(message, all_fields[kind])
        _set_extra(message, {})
        _set_private(message, None)
        yield message


def _split(stored: bytes) -> Sequence[Part] | None:
    """The parts of a list of messages. None: it is something else."""
    if MODULE not in stored[FIRST_PART]:
        return None
    items = unpackb(stored, ext_hook=Ext, option=OPT_NON_STR_KEYS)
    if type(items) is not list or not all(type(item) is Ext for item in items):
        return None
    parts = [Part(packb(item)) for item in items]
    same = b"".join((_array_of(len(parts)), *(part.opening for part in parts))) == stored
    return parts if same else None


def _array_of(length: int) -> bytes:
    """How msgpack begins an array."""
    if length < 1 << 4:
        return bytes([0x90 | length])
    return b"\xdc" + length.to_bytes(2) if length < 1 << 16 else b"\xdd" + length.to_bytes(4)
