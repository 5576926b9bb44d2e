"""What somebody is told who writes a thread's state, where the write came to nothing."""

from __future__ import annotations

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest

from tests.application.scripted_agent import echo
from tests.application.test_cancelling import long
from tests.application.test_replacing import talk
from tests.application.test_unsaid_ends import fails
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, until
from unbroken.domain.effects import CancelTurn, EffectBody, ReportFailure
from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.events import RunStart, StateUpdate, WhenBusy
from unbroken.domain.ports.outbox import Ended
from unbroken.entrypoints.langgraph_api.states import until_written
from unbroken.entrypoints.web.rest import Problem


def service_of(world: World) -> Any:
    return SimpleNamespace(sessions=world.store.sessions, outbox=world.store.outbox)


@virtual
async def test_a_write_that_a_run_pushed_aside_is_not_said_to_be_done() -> None:
    world, node, _ = await talk("one")
    node.agent.script = long
    await node.say("two")
    await until(lambda: node.agent.running == 1)
    written = await node.accept(KEY, "request-write", StateUpdate({"note": 1}))
    node.agent.script = echo
    await node.accept(KEY, "request-run", RunStart({}), when_busy=WhenBusy.INTERRUPT)
    await node.ended()
    with pytest.raises(Problem) as refused:
        await until_written(service_of(world), KEY.thread_id, written.event.seq)
    assert refused.value.status == HTTPStatus.CONFLICT
    assert written.event.id not in await world.heard()


@virtual
async def test_why_a_write_failed_is_told_wherever_it_was_asked_for() -> None:
    """Whoever waits reads the store, and not what this replica happens to have seen."""
    world, node, _ = await talk("one")
    node.agent.script = fails
    written = await node.accept(KEY, "request-write", StateUpdate({"note": 1}))
    await node.ended()
    with pytest.raises(Problem) as refused:
        await until_written(service_of(world), KEY.thread_id, written.event.seq)
    assert (refused.value.status, refused.value.code) == (HTTPStatus.BAD_REQUEST, "model_failed")
    assert "no node is called that" in str(refused.value)


@virtual
async def test_a_write_whose_thread_is_deleted_meanwhile_is_not_said_to_be_done() -> None:
    world, node, _ = await talk("one")
    written = await node.accept(KEY, "request-write", StateUpdate({"note": 1}))
    await node.ended()
    await world.store.threads.delete(KEY.user_id, KEY.thread_id)
    service = service_of(world)
    with pytest.raises(ThreadDeleted):
        await until_written(service, KEY.thread_id, written.event.seq)
    service.sessions = SimpleNamespace(view=seen_before)
    with pytest.raises(NotYourThread):
        await until_written(service, KEY.thread_id, written.event.seq)


async def seen_before(thread_id: str) -> Any:
    """The session as it was a moment before its thread was deleted."""
    return SimpleNamespace(applied_seq=9)


@virtual
@pytest.mark.parametrize(
    ("end", "status"),
    [(ReportFailure("model_failed", "no", 1), HTTPStatus.BAD_REQUEST), (CancelTurn("", 1), HTTPStatus.CONFLICT)],
)
async def test_what_a_process_of_the_version_before_logged_is_understood(end: EffectBody, status: HTTPStatus) -> None:
    world, _, _ = await talk("one")

    async def end_of(thread_id: str, seq: int) -> Ended:
        return Ended(end, None)

    service: Any = SimpleNamespace(sessions=world.store.sessions, outbox=SimpleNamespace(end_of=end_of))
    with pytest.raises(Problem) as refused:
        await until_written(service, KEY.thread_id, 1)
    assert refused.value.status == status
