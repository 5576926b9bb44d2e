"""Who calls, and which of the threads there are the caller's to read or change."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from unbroken.domain.catalogue import ThreadRecord, Where, matches
from unbroken.domain.errors import NotYourThread
from unbroken.domain.events import RunStart
from unbroken.domain.ports.identity import Details, User
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.rest import Call, existing

GIVEN: Final = ("input", "command", "config", "context")
"""Of a run, what rules see, and may change."""


class Access(Struct, frozen=True):
    user: User
    service: Service
    permissions: Permissions

    @property
    def known(self) -> Details | None:
        """What a project's graphs are told of the user. None: it has no `auth` of its own."""
        if self.permissions is anything:
            return self.user.details
        return self.user.details or {"identity": self.user.id}

    async def allowed(self, resource: str, action: str, value: dict[str, Any]) -> Where:
        """Raises Problem."""
        return await self.permissions(self.user, resource, action, value)

    async def thread(self, thread_id: str, action: str = "read", value: dict[str, Any] | None = None) -> ThreadRecord:
        """`value`: what is to be done with it, and then what the project's rules have made of that. Raises Problem,
        NotYourThread (also for one that the rules do not show), ThreadDeleted."""
        asked = {} if value is None else value
        asked["thread_id"] = existing(thread_id)
        where = await self.allowed("threads", action, asked)
        record = await self.service.thread_records.get(self.user.id, thread_id)
        if not matches(record.metadata, where):
            raise NotYourThread(thread_id)
        return record

    async def run(self, thread_id: str | None, assistant_id: str, body: RunStart) -> RunStart:
        """The run as the project's rules let it begin, with what is known of the user. A thread that comes to be with
        it is noted with what the rules have set, so that they find it again. Raises Problem, NotYourThread (also for
        a thread that they do not show), ThreadDeleted."""
        if self.permissions is anything:
            return body if self.known is None else replace(body, user=dict(self.known))
        value: dict[str, Any] = {
            "thread_id": thread_id,
            "assistant_id": assistant_id,
            "metadata": dict(body.metadata),
            "kwargs": {name: getattr(body, name) for name in GIVEN},
        }
        where = await self.allowed("threads", "create_run", value)
        metadata: dict[str, Any] = value["metadata"]
        if thread_id is not None:
            set_ = {name: set_ for name, set_ in metadata.items() if body.metadata.get(name) != set_}
            await self.service.thread_records.create(self.user.id, thread_id, set_)
            record = await self.service.thread_records.get(self.user.id, thread_id)
            if not matches(record.metadata, where):
                raise NotYourThread(thread_id)
        known = None if self.known is None else dict(self.known)
        given = {name: value["kwargs"][name] for name in GIVEN}
        return replace(body, **given, metadata=metadata, user=known)


async def access_of(request: Call) -> Access:
    """Raises Closed with NOT_AUTHENTICATED."""
    state = request.app.state
    return Access(await identified(request), state.service, state.permissions)
