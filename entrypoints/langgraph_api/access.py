"""Who calls, and which of the threads there are the caller's to read or change."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from unbroken.domain.catalogue import ANY, Metadata, ThreadRecord, Where, matches
from unbroken.domain.errors import NotYourThread
from unbroken.domain.events import RunStart, WhenBusy
from unbroken.domain.ports.identity import Details, User
from unbroken.entrypoints.langgraph_api.assistants import Served
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.langgraph_api.run_bodies import OF_THE_SERVER, NewRun
from unbroken.entrypoints.langgraph_api.run_values import GIVEN, given_by, runs_create
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.rest import Call, existing


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

    async def run(
        self,
        thread_id: str,
        run: NewRun,
        record: ThreadRecord | None,
        *,
        run_id: str,
        when_busy: WhenBusy | None = None,
        stateless: bool = False,
    ) -> RunStart:
        """The run as the project's rules let it begin, with what is known of the user. `record`: the thread as it is,
        None if it comes to be with the run: then it is noted with the metadata that the run was asked for with, as the
        rules have left them, so that they find it again. A thread's assistant is the one that ran there last.
        `stateless`: nobody has named the thread, and the rules are told of none.
        Raises Problem, NotYourThread (also for a thread that they do not show), ThreadDeleted, InvalidValue."""
        body, where, said = run.body, ANY, run.said
        if self.permissions is not anything:
            value = runs_create(
                None if stateless else thread_id,
                run.assistant.assistant_id,
                {name: getattr(body, name) for name in GIVEN},
                metadata=said,
                run_id=run_id,
                when_busy=when_busy,
                creates=run.creates,
            )
            where = await self.allowed("threads", "create_run", value)
            said = value["metadata"]
            body = replace(body, **given_by(value), metadata=run.metadata_with(said))
        record = await self._noted(thread_id, run, record, said)
        if record is not None:
            if not matches(record.metadata, where):
                raise NotYourThread(thread_id)
            await self._ran_by(run.assistant, record)
        return body if self.known is None else replace(body, user=dict(self.known))

    async def _noted(
        self, thread_id: str, run: NewRun, record: ThreadRecord | None, said: Metadata
    ) -> ThreadRecord | None:
        """The thread if it was there before the run, as it is now if rules were asked meanwhile. Where there is nothing
        to note, and nobody who would look for it by that, the run's event makes the thread."""
        unruled = self.permissions is anything
        if record is not None and unruled:
            return record
        noted = {name: value for name, value in said.items() if name not in OF_THE_SERVER}
        if not run.assistant.own:
            noted["assistant_id"] = run.assistant.assistant_id
        if not noted and unruled:
            return None
        records = self.service.thread_records
        made = record is None and await records.create(self.user.id, thread_id, noted)
        return None if made else await records.get(self.user.id, thread_id)

    async def _ran_by(self, assistant: Served, record: ThreadRecord) -> None:
        """A graph's own assistant follows from the graph, and is noted only where another one's stood."""
        bound_elsewhere = record.agent_id not in (None, assistant.graph_id)
        last = record.metadata.get("assistant_id")
        if bound_elsewhere or last == assistant.assistant_id or (last is None and assistant.own):
            return
        noted = {"assistant_id": assistant.assistant_id}
        await self.service.thread_records.describe(self.user.id, record.thread_id, noted)


async def access_of(request: Call) -> Access:
    """Raises Closed with NOT_AUTHENTICATED."""
    state = request.app.state
    return Access(await identified(request), state.service, state.permissions)
