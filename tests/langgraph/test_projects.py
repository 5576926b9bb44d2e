"""LangGraph projects: what their `langgraph.json` says is what is served, or what is wrong is told in one line."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.langgraph.driving import Chat
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.loading import NamedGraph, named_graph
from unbroken.adapters.langgraph.project import parse_project, read_project
from unbroken.adapters.langgraph.project_environment import make_importable, set_variables
from unbroken.domain.errors import InvalidValue, TurnFailed
from unbroken.entrypoints.served_project import what_is_served
from unbroken.entrypoints.settings import Settings

PROJECTS = Path(__file__).parents[1] / "projects"
PLACE = Path("/somewhere/langgraph.json")
LEAST: dict[str, Any] = {"graphs": {"a": "a.py:graph"}}


@pytest.fixture(autouse=True)
def own_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a project imports and sets is gone with its test."""
    before, environment = set(sys.modules), dict(os.environ)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        where = str(getattr(sys.modules[name], "__file__", ""))
        if where.startswith((str(PROJECTS), str(tmp_path))):
            del sys.modules[name]
    os.environ.clear()
    os.environ.update(environment)


def graphs_of(folder: str) -> dict[str, NamedGraph]:
    project = read_project(PROJECTS / folder / "langgraph.json")
    assert set_variables(project) == []
    assert make_importable(project) == []
    return {name: named_graph(name, entry.path, root=project.root) for name, entry in project.graphs().items()}


def chat_with(named: NamedGraph) -> Chat:
    unused: Any = named.graph.fixed
    chat = Chat(unused)
    chat.agent = LangGraphAgent(named.graph, chat.store.checkpoints)
    return chat


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("builder", "hello: hi"),
        ("compiled", "compiled: hi"),
        ("no_argument", "plain: hi"),
        ("config", "thread {thread}: hi"),
        ("runtime", "threads.create_run, True: hi"),
        ("both", "threads.create_run of ann: hi"),
        ("awaited", "awaited {thread}: hi"),
        ("context", "within: hi"),
        ("async_context", "within async: hi"),
    ],
)
async def test_graphs_of_every_shape_answer(name: str, answer: str) -> None:
    chat = chat_with(graphs_of("shapes")[name])
    thread = chat.key.thread_id
    assert (await chat.say("hi")).text == answer.format(thread=thread)
    assert (await chat.say("hi")).text == answer.format(thread=thread), "and goes on from its own state"
    left = {"context": ["within"] * 2, "async_context": [f"async {thread}"] * 2}
    if "context" in name:
        assert sys.modules["factories"].left == left[name], "each context was left once, after its run"


@pytest.mark.asyncio
async def test_a_factory_that_fails_fails_its_turn_alone(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "tries = []\ndef make(config):\n    tries.append(1)\n    raise SystemExit('no key')\ndef odd():\n    return 7\n"
    )
    for variable, told in (("make", "no key"), ("odd", "is a int, not a LangGraph graph")):
        chat = chat_with(named_graph("a", f"failing.py:{variable}", root=tmp_path))
        with pytest.raises(TurnFailed, match=told):
            await chat.say("hi")
    assert sys.modules["failing"].tries == [1]


def test_a_factory_that_wants_what_nobody_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        "def make(config, model):\n    pass\ndef fits(config, model='small'):\n    pass\n"
    )
    with pytest.raises(InvalidValue, match=r"agent a: its factory takes \(config, model\); expected nothing, a config"):
        named_graph("a", "greedy.py:make", root=tmp_path)
    named_graph("a", "greedy.py:fits", root=tmp_path)


@pytest.mark.asyncio
async def test_a_projects_packages_may_be_called_as_our_layers() -> None:
    answer = await chat_with(graphs_of("like_ours")["mine"]).say("hi")
    assert answer.text == "my domain, my application, my adapters, my entrypoints"


def test_what_means_nothing_here_is_named() -> None:
    project = parse_project(
        json.dumps(
            {
                **LEAST,
                "$schema": "x",
                "node_version": "20",
                "env": {"ANY": "name"},
                "http": {"app": "a:b", "disable_mcp": True, "cors": {"allow_origins": ["*"], "odd": 1}},
                "checkpointer": {"ttl": {"default_ttl": 5}, "serde": {}},
            }
        ).encode(),
        PLACE,
    )
    assert project.ignored == ("node_version", "http.disable_mcp", "http.cors.odd", "checkpointer.serde")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "langgraph.json: object missing required field graphs"),
        ([], "langgraph.json: expected object, got array"),
        ({"graphs": {}}, "langgraph.json: graphs: names no graph; expected {name: 'file.py:variable'}"),
        ({"graphs": {"a": 1}}, "langgraph.json: graphs.*: expected str | object, got int"),
        ({"graphs": {"a": "a.ts:graph"}}, "langgraph.json: graphs.a: a.ts:graph is JavaScript; graphs here are Python"),
        (
            {"graphs": {"a": "a.py"}},
            "langgraph.json: graphs.a: 'a.py' names no variable; expected 'file.py:variable' or 'module:variable'",
        ),
        (
            {**LEAST, "store": {"index": {"embed": "a:b", "dims": "many"}}},
            "langgraph.json: store.index.dims: expected int, got str",
        ),
        (
            {**LEAST, "store": {"index": {"embed": "a:b", "dims": 0}}},
            "langgraph.json: store.index.dims: is 0; 1 to 16000 can be stored",
        ),
        (
            {**LEAST, "checkpointer": {"ttl": {"default_ttl": -1}}},
            "langgraph.json: checkpointer.ttl.default_ttl: is -1; a number of minutes above 0 is needed",
        ),
        (
            {**LEAST, "http": {"cors": {"allow_origin_regex": "("}}},
            (
                "langgraph.json: http.cors.allow_origin_regex: is no pattern: "
                "missing ), unterminated subpattern at position 0"
            ),
        ),
        ({**LEAST, "dependencies": ["./none"]}, "langgraph.json: dependencies: the folder ./none does not exist"),
    ],
)
def test_each_mistake_is_one_line_that_names_file_and_key(content: object, told: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        make_importable(parse_project(json.dumps(content).encode(), PLACE))
    assert str(raised.value) == told


def test_what_is_no_json_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"^langgraph.json: is not JSON: "):
        parse_project(b"{,", PLACE)
    with pytest.raises(InvalidValue, match=r"^langgraph.json: is not JSON: "):
        parse_project(b"[" * 100_000, PLACE)
    with pytest.raises(InvalidValue, match=r"none.json: cannot be read: No such file"):
        read_project(tmp_path / "none.json")


def test_the_process_own_environment_wins_over_the_projects(tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text("GIVEN=file\nNEW=from the file\n")
    project = parse_project(json.dumps({**LEAST, "env": "my.env"}).encode(), tmp_path / "langgraph.json")
    environment = {"GIVEN": "process"}
    assert set_variables(project, environment) == []
    assert environment == {"GIVEN": "process", "NEW": "from the file"}
    mapping = parse_project(json.dumps({**LEAST, "env": {"ON": True, "N": 3}}).encode(), tmp_path / "langgraph.json")
    set_variables(mapping, environment)
    assert (environment["ON"], environment["N"]) == ("true", "3")
    gone = parse_project(json.dumps({**LEAST, "env": ".env"}).encode(), tmp_path / "langgraph.json")
    assert set_variables(gone, environment) == [
        "langgraph.json: env: the file .env does not exist; going on without it"
    ]


def test_missing_packages_are_told_with_the_command_that_installs_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["no-such-package>=2", "langgraph>=99", "msgspec"]\n'
    )
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "requirements.txt").write_text("# some\nmsgspec  # here\n-r other.txt\nno-such-one\n")
    (tmp_path / "src").mkdir()
    content = {**LEAST, "dependencies": [".", "./pkg", "msgspec", "no_such_third"]}
    (line,) = make_importable(parse_project(json.dumps(content).encode(), tmp_path / "langgraph.json"))
    assert line.startswith("langgraph.json: dependencies: not here: langgraph>=99 (here is ")
    assert "no-such-one, no-such-package>=2, no_such_third; to install them: " in line
    assert line.endswith(f"pip install no_such_third -r {tmp_path}/pkg/requirements.txt -e {tmp_path}")
    assert sys.path[:3] == [str(tmp_path), str(tmp_path / "src"), str(tmp_path / "pkg")]


def test_the_command_that_installs_is_one_that_a_shell_reads_as_it_is_meant(tmp_path: Path) -> None:
    folder = tmp_path / "my pkg"
    folder.mkdir()
    (folder / "requirements.txt").write_text("no-such-one\n")
    wanted = 'no_such[foo]>=1; python_version>"3"'
    content = {**LEAST, "dependencies": [wanted, "./my pkg"]}
    (line,) = make_importable(parse_project(json.dumps(content).encode(), tmp_path / "langgraph.json"))
    command = shlex.split(line.partition("to install them: ")[2])
    assert command == [sys.executable, "-m", "pip", "install", "-r", f"{folder}/requirements.txt", wanted]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"A=B": "x"}, "env: 'A=B' cannot be a variable's name; expected at least one character, and neither '='"),
        ({"": "x"}, "env: '' cannot be a variable's name"),
        ({"A\0B": "x"}, "env: 'A\\x00B' cannot be a variable's name"),
        ({"A": "x\0y"}, "env.A: holds a NUL"),
        ("latin.env", "env: latin.env is not UTF-8: line 2 has the byte 0xfc; save it as UTF-8"),
    ],
)
def test_what_no_environment_can_hold_is_told_and_nothing_of_it_set(tmp_path: Path, env: Any, told: str) -> None:
    (tmp_path / "latin.env").write_bytes("A=1\nNAME=grün\n".encode("latin-1"))
    given = env if isinstance(env, str) else {"GOOD": "1", **env}
    project = parse_project(json.dumps({**LEAST, "env": given}).encode(), tmp_path / "langgraph.json")
    environment: dict[str, str] = {}
    with pytest.raises(InvalidValue) as raised:
        set_variables(project, environment)
    assert str(raised.value).startswith(f"langgraph.json: {told}")
    assert not environment


def test_a_graph_of_a_project_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text("def read():\n    return {}['deep']\ngraph = read()\n")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./failing.py:graph"}}))
    with pytest.raises(InvalidValue) as raised:
        what_is_served(Settings(config=tmp_path))
    told = "langgraph.json: graphs.a: ./failing.py does not import: KeyError: 'deep' (failing.py:2)"
    assert str(raised.value) == told


def test_graph_of_a_static_source_is_the_one_that_was_imported() -> None:
    named = graphs_of("shapes")["compiled"]
    graph: Graph = sys.modules["graphs"].graph
    assert named.graph.fixed is graph
