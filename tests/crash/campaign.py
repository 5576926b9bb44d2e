"""Pull every plug there is, again and again, while people talk.

    python -m tests.crash.campaign                       20 kills, 20 cuts, 5 database restarts,
                                                         5 times every connection to the database severed
    python -m tests.crash.campaign --seed 7 --kills 3    the same faults at the same moments as last time

One server serves a one-node agent and a three-node agent in both commit modes. In each round a thread of each says
something, says something else while the first is being answered, and a fault strikes all of them. Two views of
each thread are recorded by a process of its own: one through the same cut network, one beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from tests.checker.check import violations
from tests.checker.history import Tables
from tests.checker.sources import tables_of_postgres
from tests.crash.faults import Fault, Kind, Plan
from tests.crash.recordings import Recorder, Watch, log_of, shown_texts
from tests.crash.talkers import PATIENCE_S, ProductTalker, StrangerTalker, Talker
from tests.crash.verdict import broken_laws, nodes_run_again
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.server import Server
from tests.end_to_end.tables import StoredThread, read_thread
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

WORDS = {"one": 30, "three": 12, "turn": 12}
"""Agent → words of each of its messages, so that the answers of all take about as long."""
PAUSE_S = 0.03
ANSWER_S = 30 * PAUSE_S
PATIENT = {"UNBROKEN_MAX_TRIES": "50", "UNBROKEN_RETRY_BACKOFF_S": "0.1"}
"""Chance may hit one message often; how a message is given up is tested elsewhere."""

Tell = Callable[[str], None]


class Outcome(Struct):
    """What a campaign did and found."""

    struck: Counter[Kind]
    turns: int = 0
    attempts: int = 0
    cut_connections: int = 0
    severed_connections: int = 0
    texts: int = 0
    """Texts that were on a screen, each compared with what its attempt said."""
    run_again: int = 0
    """Nodes that ran again in turn mode, where they must."""
    broken: list[str] = []
    seconds: float = 0.0


class Campaign:
    def __init__(self, plan: Plan, directory: Path, tell: Tell) -> None:
        self.plan = plan
        self.outcome = Outcome(Counter())
        self._tell = tell
        self._directory = directory
        self._node_log = directory / "nodes.jsonl"
        self._threads = {agent: f"{agent}-{plan.seed}" for agent in WORDS}
        self._talkers: dict[str, Talker] = {}
        self._sent: dict[str, dict[str, str]] = {agent: {} for agent in WORDS}

    async def run(self) -> Outcome:
        began = time.monotonic()
        database = EmbeddedPostgres(self._directory / "database")
        try:
            await asyncio.to_thread(database.start)
            async with Proxy(database.port) as wire:
                server = Server(
                    self._directory,
                    database_url=database.tcp_url.replace(f":{database.port}/", f":{wire.port}/"),
                    environment=PATIENT | {"UNBROKEN_TEST_NODE_LOG": str(self._node_log)},
                )
                try:
                    server.start()
                    await asyncio.to_thread(server.wait_ready)
                    threads, recorder = await self._talk(server, database, wire)
                    tables = await tables_of_postgres(database.url)
                finally:
                    code = await asyncio.to_thread(server.stop)
                assert code == 0, f"the server did not stop well: {server.said()[-3000:]}"
        finally:
            database.stop(immediate=True)
        self._judge(threads, tables, recorder)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _talk(
        self, server: Server, database: EmbeddedPostgres, wire: Proxy
    ) -> tuple[dict[str, StoredThread], Recorder]:
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(Proxy(server.port))
            through = f"ws://127.0.0.1:{proxy.port}"
            recorder = Recorder(self._directory, list(self._watches(server.url, through)))
            await asyncio.to_thread(recorder.start)
            stack.push_async_callback(asyncio.to_thread, recorder.stop)
            for agent, thread in self._threads.items():
                self._talkers[agent] = await stack.enter_async_context(self._talker(through, agent, thread))
            plugs = _Plugs(server, proxy, database, wire, self.outcome)
            for number, fault in enumerate(self.plan.faults(), 1):
                await self._round(number, fault, plugs)
            threads = {agent: await read_thread(database.url, thread) for agent, thread in self._threads.items()}
            await self._caught_up(threads, recorder)
        return threads, recorder

    def _watches(self, direct: str, through: str) -> list[Watch]:
        return [
            Watch(f"{agent}-{name}", url, thread, agent, acks)
            for agent, thread in self._threads.items()
            for name, url, acks in (("near", direct, False), ("far", through, True))
        ]

    def _talker(self, url: str, agent: str, thread: str) -> Talker:
        if agent == "one":
            return ProductTalker(url, thread, agent)
        return StrangerTalker(url, thread, agent, self._directory / f"{agent}-talker.jsonl")

    async def _round(self, number: int, fault: Fault, plugs: _Plugs) -> None:
        began = time.monotonic()
        await asyncio.gather(plugs.pull(fault), *(self._conversation(number, fault, agent) for agent in WORDS))
        self._tell(
            f"{number:3} {fault.kind:7} at {fault.strikes_at * ANSWER_S:.2f} s, second message at "
            f"{fault.second_at * ANSWER_S:.2f} s, all answered at {time.monotonic() - began:.2f} s"
        )

    async def _conversation(self, number: int, fault: Fault, agent: str) -> None:
        first = await self._say(agent, f"{number} a")
        await asyncio.sleep(fault.second_at * ANSWER_S)
        second = await self._say(agent, f"{number} b")
        for request_id in (first, second):
            await self._talkers[agent].ended(request_id)

    async def _say(self, agent: str, name: str) -> str:
        text = f"{agent} {name} words={WORDS[agent]} pause={PAUSE_S}"
        request_id = await self._talkers[agent].say(text)
        self._sent[agent][request_id] = text
        return request_id

    async def _caught_up(self, threads: dict[str, StoredThread], recorder: Recorder) -> None:
        """Every view has the whole log; a bounded wait, for what never comes is found by the verdict."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            views = [recorder.lines(f"{agent}-{name}") for agent in threads for name in ("near", "far")]
            ends = [thread.log_index for thread in threads.values() for _ in ("near", "far")]
            if all(len(log_of(lines)) >= end for lines, end in zip(views, ends, strict=True)):
                return
            await asyncio.sleep(0.1)

    def _judge(self, threads: dict[str, StoredThread], tables: Tables, recorder: Recorder) -> None:
        found = self.outcome.broken
        lost = self.plan.kills + 3 * (self.plan.restarts + self.plan.severs)
        for agent, thread in threads.items():
            views = {name: recorder.lines(f"{agent}-{name}") for name in ("near", "far")}
            laws = [*broken_laws(thread, self._sent[agent], views), *self._talkers[agent].broken_laws(thread)]
            if not len(thread.events) <= thread.run <= len(thread.events) + lost:
                laws.append(f"I14: {thread.run} attempts at {len(thread.events)} events")
            found += [f"{agent}: {law}" for law in laws]
            self.outcome.turns += len(thread.events)
            self.outcome.attempts += thread.run
            self.outcome.texts += sum(len(list(shown_texts(lines))) for lines in views.values())
        superstep, turn = ([event.id for event in threads[agent].events] for agent in ("three", "turn"))
        found += nodes_run_again(self._node_log, superstep)
        self.outcome.run_again = len(nodes_run_again(self._node_log, turn))
        watched = [f"{agent}-{name}" for agent in threads for name in ("near", "far")]
        sockets = [socket for name in watched for socket in recorder.sockets(name)]
        sockets += [socket for talker in self._talkers.values() for socket in talker.sockets()]
        found += [str(violation) for violation in violations(sockets, tables, watched_to_the_end=watched)]


class _Plugs(Struct):
    server: Server
    proxy: Proxy
    database: EmbeddedPostgres
    wire: Proxy
    """Between the server and its database."""
    outcome: Outcome

    async def pull(self, fault: Fault) -> None:
        await asyncio.sleep(fault.strikes_at * ANSWER_S)
        match fault.kind:
            case "kill":
                self.server.kill()
                self.server.start()
                await asyncio.to_thread(self.server.wait_ready)
            case "cut":
                self.outcome.cut_connections += self.proxy.cut()
            case "restart":
                await asyncio.to_thread(self.database.restart, immediate=True)
            case "sever":
                self.outcome.severed_connections += self.wire.cut()
        self.outcome.struck[fault.kind] += 1


def summary(plan: Plan, outcome: Outcome) -> str:
    struck = ", ".join(f"{outcome.struck[kind]} {kind}s" for kind in plan.counts())
    found = "nothing broken" if not outcome.broken else f"{len(outcome.broken)} laws broken"
    return (
        f"seed {plan.seed}: {struck} ({outcome.cut_connections} sockets and "
        f"{outcome.severed_connections} database connections) in {outcome.seconds:.0f} s; "
        f"{outcome.turns} messages, {outcome.attempts} attempts, {outcome.run_again} nodes run again in turn mode, "
        f"{outcome.texts} shown texts compared: {found}"
    )


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--severs", type=int, default=5)
    given = parser.parse_args()
    plan = Plan(given.seed, given.kills, given.cuts, given.restarts, given.severs)
    directory = Path(tempfile.mkdtemp(prefix="unbroken-crash-"))
    tell(f"seed {plan.seed}, everything recorded in {directory}")
    outcome = asyncio.run(Campaign(plan, directory, tell).run())
    for law in outcome.broken:
        tell(law)
    tell(summary(plan, outcome))
    sys.exit(bool(outcome.broken))


if __name__ == "__main__":
    main()
