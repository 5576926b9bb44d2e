"""A server that neither answers nor hangs up: its silence becomes an error of ours, and its connection is replaced."""

from __future__ import annotations

import psutil
import pytest

from unbroken.adapters.postgres import pool
from unbroken.domain.errors import CommitUnknown, StoreUnavailable


@pytest.mark.asyncio
@pytest.mark.parametrize(("method", "error"), [("read", StoreUnavailable), ("write", CommitUnknown)])
async def test_silence_is_an_error_of_ours_and_the_next_call_gets_another_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch, method: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(pool, "COMMAND_TIMEOUT_S", 1.0)
    opened = await pool.open_pool(database_url, size=1)
    try:
        ((pid,),) = await opened.read("SELECT pg_backend_pid()")
        backend = psutil.Process(pid)
        backend.suspend()
        try:
            # Shorter than the other, as in production: the driver gives up waiting for its own cancellation.
            monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.2)
            with pytest.raises(error):
                await getattr(opened, method)("SELECT 1")
            assert opened.checked_out() == 0
            monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 5.0)
            ((other,),) = await opened.read("SELECT pg_backend_pid()")
            assert other != pid
        finally:
            backend.resume()
    finally:
        await opened.close()
