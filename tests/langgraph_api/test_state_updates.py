"""What somebody is told who writes a thread's state, where the write met something else on its way."""

from __future__ import annotations

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest

from tests.application.scripted_agent import echo
from tests.application.test_cancelling import long
from tests.application.test_replacing import talk
from tests.application.virtual_time import virtual
from tests.application.world import KEY, until
from unbroken.domain.events import RunStart, StateUpdate, WhenBusy
from unbroken.entrypoints.langgraph_api.states import until_written
from unbroken.entrypoints.web.rest import Problem


@virtual
async def test_a_write_that_a_run_pushed_aside_is_not_said_to_be_done() -> None:
    world, node, _ = await talk("one")
    node.agent.script = long
    await node.say("two")
    await until(lambda: node.agent.running == 1)
    before = await world.view()
    assert before is not None
    written = await node.accept(KEY, "request-write", StateUpdate({"note": 1}))
    node.agent.script = echo
    await node.accept(KEY, "request-run", RunStart({}), when_busy=WhenBusy.INTERRUPT)
    await node.ended()
    service: Any = SimpleNamespace(sessions=world.store.sessions, outbox=world.store.outbox)
    with pytest.raises(Problem) as refused:
        await until_written(service, KEY.thread_id, written.event.seq, before.log_index)
    assert refused.value.status == HTTPStatus.CONFLICT
    assert written.event.id not in await world.heard()
