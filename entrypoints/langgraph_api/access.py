"""Who calls, and which of the threads there are the caller's to read or change."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from unbroken.domain.catalogue import ThreadRecord, Where, matches
from unbroken.domain.errors import NotYourThread
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.langgraph_api.permissions import Permissions
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.rest import Call, existing


class Access(Struct, frozen=True):
    user: User
    service: Service
    permissions: Permissions

    async def allowed(self, resource: str, action: str, value: dict[str, Any]) -> Where:
        """Raises Problem."""
        return await self.permissions(self.user, resource, action, value)

    async def thread(self, thread_id: str, action: str = "read", value: dict[str, Any] | None = None) -> ThreadRecord:
        """Raises Problem, NotYourThread (also for one that the project's rules do not show), ThreadDeleted."""
        asked = {"thread_id": existing(thread_id)} | (value or {})
        where = await self.allowed("threads", action, asked)
        record = await self.service.thread_records.get(self.user.id, thread_id)
        if not matches(record.metadata, where):
            raise NotYourThread(thread_id)
        return record


async def access_of(request: Call) -> Access:
    """Raises Closed with NOT_AUTHENTICATED."""
    state = request.app.state
    return Access(await identified(request), state.service, state.permissions)
