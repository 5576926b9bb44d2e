"""Where AG-UI front ends have an agent run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from litestar import post
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import structs

from unbroken.domain.catalogue import ThreadRecord
from unbroken.domain.effects import RequestInput
from unbroken.domain.errors import NotYourThread, UnknownRequest
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.ag_ui.asking import RunAgentInput, asked_of, goes_back_to
from unbroken.entrypoints.ag_ui.messages import MESSAGES, shown_messages, without_messages
from unbroken.entrypoints.ag_ui.telling import Telling, at_rest, object_of, sse
from unbroken.entrypoints.langgraph_api.access import Access, access_of
from unbroken.entrypoints.langgraph_api.answers import body_of
from unbroken.entrypoints.langgraph_api.assistants import Served, served
from unbroken.entrypoints.langgraph_api.open_questions import open_questions
from unbroken.entrypoints.langgraph_api.run_following import FollowedRun
from unbroken.entrypoints.langgraph_api.run_responses import RunResponses, Started, started_as
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.event_stream import HEADERS
from unbroken.entrypoints.web.rest import Call, Problem, existing

RUNS: Final = UUID("5f3a1c52-8f0e-4d53-9a76-2a1c6d1b7f0e")
"""The namespace of runs' ids that are made of front ends' own."""
PAGE: Final = 20
FARTHEST: Final = 1_000
"""States that are looked through for the one before a message that is answered again."""


@post("/agui/{agent:str}", status_code=200)
async def run_agent(request: Call, agent: FromPath[str]) -> ASGIApp:
    """`agent`: a graph's name, or an assistant's id. The same `runId` again is the same run, told from its start."""
    user = await identified(request)
    given = await body_of(request, RunAgentInput)
    return await _Front(request, user, await access_of(request), given).run(agent)


class _Front:
    def __init__(self, request: Call, user: User, access: Access, given: RunAgentInput) -> None:
        self._service: Service = request.app.state.service
        self._responses: RunResponses = request.app.state.runs
        self._user = user
        self._access = access
        self._given = given
        self._thread_id = existing(given.thread_id)
        self._run_id = str(uuid5(RUNS, msgspec.json.encode([user.id, given.thread_id, given.run_id]).decode()))

    async def run(self, agent: str) -> ASGIApp:
        record = await self._record()
        known = None if record is None else await self._known()
        if known is not None:
            return self._told(known, await self._responses.joined(self._user, known))
        assistant = await served(self._access, agent)
        values = {} if record is None else await self._values(assistant, record)
        asked = asked_of(self._given, agent, state=_changed(self._given.state, values))
        if asked is None:
            shown = await self._shown(assistant, values)
            return self._nothing_new(shown, await self._questions(assistant, record))
        before = goes_back_to(self._given, shown_messages(values.get(MESSAGES)))
        if before is not None:
            asked = structs.replace(asked, checkpoint_id=await self._where(assistant, before))
        started, followed = await self._responses.begun(self._user, self._thread_id, asked, self._run_id)
        return self._told(started, followed)

    async def _record(self) -> ThreadRecord | None:
        """None: the thread does not exist, or is not this user's to see; what becomes of a run there is decided where
        runs are accepted."""
        try:
            return await self._access.thread(self._thread_id)
        except NotYourThread:
            return None

    async def _known(self) -> Started | None:
        """The run, if it was started before."""
        try:
            run = await self._service.runs.get(self._user.id, self._thread_id, self._run_id)
        except (NotYourThread, UnknownRequest):
            return None
        return started_as(self._user.id, run)

    def _key(self, assistant: Served) -> SessionKey:
        return SessionKey(self._user.id, assistant.graph_id, self._thread_id)

    async def _values(self, assistant: Served, record: ThreadRecord) -> dict[str, Any]:
        """What the thread holds now."""
        if record.agent_id != assistant.graph_id:
            return {}
        return object_of(await self._service.state.values(self._key(assistant), user=self._access.known))

    async def _questions(self, assistant: Served, record: ThreadRecord | None) -> Sequence[RequestInput]:
        """What the thread waits for now."""
        if record is None or record.agent_id != assistant.graph_id:
            return ()
        found = await open_questions(self._service.sessions, self._service.outbox, self._key(assistant))
        return tuple(found.values())

    async def _shown(self, assistant: Served, values: dict[str, Any]) -> dict[str, Any]:
        """As far as runs give it away, and the conversation."""
        outputs = await self._service.state.outputs(self._key(assistant), user=self._access.known)
        return {name: held for name, held in values.items() if outputs is None or name in {*outputs, MESSAGES}}

    async def _where(self, assistant: Served, before: list[str]) -> str:
        """The checkpoint at which the thread held these messages alone: at rest, or else the first one."""
        key = self._key(assistant)
        found: str | None = None
        cursor: str | None = None
        for _ in range(FARTHEST // PAGE):
            states = await self._service.states.history(key, limit=PAGE, before=cursor, user=self._access.known)
            for state in states:
                cursor = state["checkpoint"]["checkpoint_id"]
                values = object_of(msgspec.json.encode(state["values"]))
                if [message["id"] for message in shown_messages(values.get(MESSAGES))] == before:
                    found = cursor
                    if not state["next"]:
                        return found
            if len(states) < PAGE:
                break
        if found is None:
            message = (
                "the thread's history does not hold what was before this message: keep it with UNBROKEN_HISTORY=all"
            )
            raise Problem(HTTPStatus.CONFLICT, "history_gone", message)
        return found

    def _told(self, started: Started, followed: FollowedRun) -> ASGIApp:
        followed.also = frozenset({MESSAGES})  # the conversation is shown in any case
        telling = Telling(started.event, self._given.thread_id, self._given.run_id, again=followed.joins)

        async def pieces() -> AsyncGenerator[bytes, None]:
            yield sse(telling.begins())
            async for events in followed.events(started.event, telling):
                yield sse(events)

        return self._responses.told(self._user, started, followed, pieces())

    def _nothing_new(self, values: dict[str, Any], questions: Sequence[RequestInput]) -> ASGIApp:
        body = sse(at_rest(self._given.thread_id, self._given.run_id, values, questions))
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})

        return answer


def _changed(state: Any, values: dict[str, Any]) -> dict[str, Any]:
    """What the front end has changed of the state that it was shown: the rest it only gives back, and a reducer would
    add it once more."""
    given = without_messages(state) if isinstance(state, dict) else {}
    return {key: value for key, value in given.items() if key not in values or values[key] != value}
