"""What a project's own rules (`langgraph_sdk.Auth`, `@auth.on…`) let a caller do, and see of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from unbroken.domain.catalogue import ANY, MAX_SOUGHT, MAX_WEIGHT, Where, weight
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.langgraph_api.answers import invalid


class Permissions(Protocol):
    async def __call__(self, user: User, resource: str, action: str, value: dict[str, Any]) -> Where:
        """What must hold of the metadata of whatever is read, found or changed. The rules may change `value`, e.g. its
        metadata, before it is used. Raises Problem: refused."""


async def anything(user: User, resource: str, action: str, value: dict[str, Any]) -> Where:
    """Without rules: whatever is the user's own."""
    return ANY


ON_THREADS: Final = "threads"
ON_ASSISTANTS: Final = "assistants"
ON_STORE: Final = "store"
SHARED: Final = (
    "the long-term memory is shared by all users, and nothing says what each may see of it: "
    "give the project rules for it (`@auth.on.store`), which set the namespace and return no filter"
)


def where_of(pattern: Mapping[str, Any] | None) -> Where:
    """Metadata that a client looks for. Raises Problem: comparing them with what is there would take too long."""
    if not pattern:
        return ANY
    if len(msgspec.json.encode(pattern)) > MAX_SOUGHT or weight(pattern) > MAX_WEIGHT:
        raise invalid(f"metadata: at most {MAX_SOUGHT} bytes, and {MAX_WEIGHT} objects and lists, are looked for")
    return ((dict(pattern),),)
