"""CI's share of the sieges: every attack at once over real sockets, and nothing of it stays in the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.server import Server
from tests.hostile.attacks import ATTACKS
from tests.hostile.siege import AGENTS, Siege

MOST_MIB = 600
"""Far above what it needs, and far below what it was sent or asked for. How flat it stays, only long runs can tell."""


@pytest.mark.asyncio
async def test_a_server_under_every_attack_answers_its_clients_and_lets_go_of_the_attackers(tmp_path: Path) -> None:
    limits = {"UNBROKEN_READER_STALL_S": "1", "UNBROKEN_LOG_LEVEL": "warning"}
    with Server(tmp_path, arguments=[*AGENTS, "--in-memory"], environment=limits) as server:
        siege = Siege(server, seed=7, hold_s=3)
        await siege.last(10)
        assert siege.complaints() == []
    assert {attack for attack, _ in siege.ends} == {attack.__name__ for attack in ATTACKS}
    assert len(siege.latencies_s) > 5
    assert siege.after == siege.before
    assert max(size for _, size in siege.resident) < MOST_MIB << 20
