"""`unbroken serve` in the folder of a LangGraph project, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import Auth
from websockets.asyncio.client import connect

from tests.end_to_end.client import Client
from tests.end_to_end.projects import laid_out
from tests.end_to_end.server import START_LIMIT_S, UNBROKEN, Server, environment
from tests.platform.probes import becomes
from tests.platform.test_workers import workers_of
from unbroken.adapters.langgraph.project import read_project
from unbroken.entrypoints.served_project import Served
from unbroken.entrypoints.settings import Settings


async def answer(server: Server, thread: str, agent: str, text: str) -> str:
    async with Client(server.url, thread=thread, agent=agent) as client:
        (end,) = await client.answered(await client.say(text))
        assert end["type"] == "final", end
        return str(end["message"])


def preflight(origin: str) -> Mapping[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


@pytest.mark.asyncio
async def test_a_project_is_served_where_it_lies(folder: Path) -> None:
    with Server(laid_out(folder, "whole"), agents={}, arguments=["--in-memory"]) as server:
        assert await answer(server, "t1", "noting", "env") == "from the env file"
        assert await answer(server, "t1", "noting", "the cat sleeps") == "nothing yet"
        assert await answer(server, "t2", "noting", "a dog") == "nearest: the cat sleeps"
        assert await answer(server, "t3", "noting", "two cat cat") == "nearest: the cat sleeps"
        assert json.loads(await answer(server, "t4", "wishing", '{"topic": "peace"}')) == {"topic": "PEACE"}
        said = server.said()
        assert "langgraph.json: without meaning here: auth.disable_studio_auth, http.disable_mcp" in said
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            await their_routes_come_first_and_ours_stay(http)
            await browsers_are_told_what_the_project_says(http)
        async with connect(f"{server.url}/own-socket") as socket:
            await socket.send("hello")
            assert await socket.recv() == "echo hello"
        assert await asyncio.to_thread(server.stop) == 0
    assert (folder / "lifespan-ended").exists()
    assert "Traceback" not in server.said()


async def their_routes_come_first_and_ours_stay(http: httpx.AsyncClient) -> None:
    own = await http.get("/own/ada")
    assert own.json() == {"hello": "ada", "began": "yes"}
    assert (await http.get("/health/live")).json() == {"live": "theirs"}
    ready = await http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.headers["x-marked"] == own.headers["x-marked"] == "yes"
    assert ready.headers["x-frame-options"] == "DENY"
    assert "<html" in (await http.get("/")).text.lower()
    assert (await http.get("/api/threads")).status_code == 200


async def browsers_are_told_what_the_project_says(http: httpx.AsyncClient) -> None:
    front = "https://front.example"
    asked = await http.options("/api/threads", headers=preflight(front))
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == front
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert asked.headers["access-control-allow-headers"] == "x-api-key"
    for path in ("/api/threads", "/own/ada", "/none"):
        got = await http.get(path, headers={"Origin": front})
        assert got.headers["access-control-allow-origin"] == front
    assert (await http.get("/api/threads", headers={"Origin": front})).status_code == 200
    strange = await http.get("/api/threads", headers={"Origin": "https://elsewhere.example"})
    assert strange.status_code >= 400
    assert "access-control-allow-origin" not in strange.headers
    assert "access-control-allow-origin" not in (await http.options("/own/ada", headers=preflight("null"))).headers


@pytest.mark.asyncio
async def test_a_project_of_packages_called_as_our_layers_is_served(folder: Path) -> None:
    with Server(laid_out(folder, "like_ours"), agents={}, arguments=["--in-memory"]) as server:
        said = await answer(server, "t", "mine", "hi")
        assert said == "my domain, my application, my adapters, my entrypoints"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            home = await http.get("/api/threads", headers={"Origin": "http://localhost:3000"})
            assert home.status_code == 200
            assert home.headers["access-control-allow-origin"] == "http://localhost:3000"
            away = await http.get("/api/threads", headers={"Origin": "http://localhost.evil.example"})
            assert away.status_code >= 400


def command(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [UNBROKEN, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_LIMIT_S,
        env=environment(**settings),
        cwd=folder,
    )


def test_agents_lists_a_projects_graphs(folder: Path) -> None:
    listed = command(laid_out(folder, "shapes"), "agents")
    assert listed.returncode == 0
    assert listed.stdout.splitlines()[:2] == ["builder\t./graphs.py:builder", "compiled\tgraphs:graph"]
    elsewhere = command(folder.parent, "agents", "--config", str(folder))
    assert elsewhere.stdout == listed.stdout


@pytest.mark.parametrize(
    ("content", "arguments", "told"),
    [
        ('{"graphs": {"a": "./none.py:graph"}}', (), "langgraph.json: graphs.a: the file ./none.py does not exist"),
        ('{"graphs": []}', (), "langgraph.json: graphs: expected object, got array"),
        ("{", (), "langgraph.json: is not JSON: "),
        (
            '{"graphs": {"a": "./graphs.py:builder"}, "auth": {"path": "./graphs.py:graph"}}',
            (),
            "langgraph.json: auth.path: ./graphs.py:graph is a CompiledStateGraph, not a langgraph_sdk.Auth",
        ),
        (
            '{"graphs": {"a": "./graphs.py:builder"}, "http": {"app": "./graphs.py:telling"}}',
            (),
            "langgraph.json: http.app: ./graphs.py:telling is a function, not a Starlette or FastAPI application",
        ),
        (
            '{"graphs": {"a": "./graphs.py:builder"}}',
            ("--config", ".", "--agent", "a=graphs.py:builder"),
            "config: a project and agents are named: leave out UNBROKEN_CONFIG, or --agent",
        ),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, content: str, arguments: tuple[str, ...], told: str) -> None:
    (laid_out(folder, "shapes") / "langgraph.json").write_text(content)
    ended = command(folder, "serve", "--in-memory", *arguments)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith(f"unbroken: {told}")
    assert "Traceback" not in ended.stderr


def test_how_long_a_project_keeps_its_threads_counts_unless_the_operator_says(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "x:y"}, "checkpointer": {"ttl": {"default_ttl": 2880}}}')
    what = Served([], read_project(tmp_path / "langgraph.json"))
    assert what.settings(Settings()).retention_days == 2
    assert what.settings(Settings(retention_days=9)).retention_days == 9
    assert Served([]).settings(Settings()).retention_days is None


@pytest.mark.parametrize(
    ("cors", "auth", "known", "warned"),
    [
        ({"allow_origins": ["*"]}, "none", False, True),
        ({"allow_origins": ["https://front.example", "*"]}, "none", False, True),
        ({"allow_origin_regex": ".*"}, "none", False, True),
        ({"allow_origins": ["https://front.example"]}, "none", False, False),
        ({"allow_origin_regex": r"https://.*\.example"}, "none", False, False),
        (None, "none", False, False),
        ({"allow_origins": ["*"]}, "proxy", False, False),
        ({"allow_origins": ["*"]}, "none", True, False),
    ],
)
def test_letting_in_everybody_without_knowing_anybody_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cors: object, auth: str, known: bool, warned: bool
) -> None:
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"a": "x:y"}, **({"http": {"cors": cors}} if cors else {})}))
    settings = Settings.model_construct(**{**Settings().model_dump(), "auth": auth})
    with caplog.at_level("WARNING"):
        Served([], read_project(file), auth=Auth() if known else None).warn_of_everybody(settings)
        Served([]).warn_of_everybody(settings)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == warned
    for word in ("langgraph.json", "http.cors", "UNBROKEN_AUTH=none", "allow_origins", "auth.path") if warned else ():
        assert word in told[0]


@pytest.mark.asyncio
async def test_what_a_project_remembers_outlives_the_process_and_is_found_by_every_worker(
    folder: Path, database_url: str
) -> None:
    project = laid_out(folder / "elsewhere", "whole")
    options = ["--config", str(project), "--workers", "2"]
    server = Server(folder, database_url=database_url, agents={}, arguments=options)
    with server:
        assert await answer(server, "t1", "noting", "the cat sleeps") == "nothing yet"
        await asyncio.to_thread(becomes, lambda: "all 2 workers serve" in server.said())
        for worker in workers_of(server):
            worker.kill()
        await asyncio.to_thread(becomes, lambda: server.said().count("all 2 workers serve") >= 2)
        for number in range(6):
            nearest = await answer(server, f"u{number}", "noting", "env" if number % 2 else "zz cat")
            assert nearest == ("from the env file" if number % 2 else "nearest: the cat sleeps")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            assert (await http.get("/own/ada")).json()["began"] == "yes"
        assert await asyncio.to_thread(server.stop) == 0
