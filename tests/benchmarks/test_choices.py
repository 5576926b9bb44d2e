"""No way is fast by doing less."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks import hot_path, token_path
from benchmarks.graph import RecitingModel
from benchmarks.hot_path_ways import WAYS, Calls


@pytest.mark.parametrize("name", sorted(token_path.WAYS))
@pytest.mark.asyncio
async def test_every_way_hears_every_token(name: str) -> None:
    assert await token_path.cpu_us_of_turn(token_path.WAYS[name], 5, 0.0, 2, 2) > 0


@pytest.mark.asyncio
async def test_a_way_that_loses_a_token_is_refused() -> None:
    def forgetful(model: RecitingModel) -> Callable[[], Awaitable[list[str]]]:
        turn = token_path.model_alone(model)

        async def shortened() -> list[str]:
            return (await turn())[:-1]

        return shortened

    with pytest.raises(RuntimeError, match="heard"):
        await token_path.cpu_us_of_turn(forgetful, 5, 0.0, 1, 1)


@pytest.mark.asyncio
async def test_every_way_leaves_the_same_rows(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    await hot_path.main(1, 3, database_url, os.getpid())
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in WAYS)


@pytest.mark.asyncio
async def test_a_way_that_writes_less_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(Calls):
        async def accept(self, thread: str, request: str) -> None:
            """Nothing."""

        async def finish(self, thread: str, seq: int) -> None:
            """Nothing."""

    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Calls]:
        yield Idle()

    monkeypatch.setattr("benchmarks.hot_path.WAYS", {"idle": opened})
    with pytest.raises(RuntimeError, match="idle"):
        await hot_path.main(1, 3, database_url, os.getpid())
