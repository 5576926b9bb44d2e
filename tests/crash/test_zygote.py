"""The tests' own end of the servers' process: whoever stops waiting for a server leaves it and all others heard."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.crash.zygote import Zygote
from tests.end_to_end.ports import free_port

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.mark.asyncio
async def test_a_start_that_nobody_waits_for_any_more_costs_nobody_else_anything(tmp_path: Path) -> None:
    async with Zygote(tmp_path / "servers.log") as zygote:
        order = {"database_url": NOWHERE, "port": free_port()}
        left = zygote.order(replica="left", **order)
        waiting = asyncio.create_task(zygote.started(left))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        other = zygote.order(replica="other", **order)
        async with asyncio.timeout(60.0):
            await zygote.started(other)
            for number in (left, other):
                zygote.kill(number)
                assert (await zygote.death(number)).code == -signal.SIGKILL
