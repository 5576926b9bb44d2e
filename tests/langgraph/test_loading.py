"""Users' graphs: found by file or module, imported as in their own project, refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.langgraph.loading import BUNDLED, load_agents, load_graphs
from unbroken.adapters.memory.store import MemoryStore
from unbroken.domain.errors import InvalidValue, UnknownAgent
from unbroken.domain.policy import CommitMode

GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph
async def answer(state: MessagesState):
    return {"messages": []}
builder = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer")
graph = builder.compile()
"""


@pytest.fixture(autouse=True)
def own_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def written(path: Path, text: str = GRAPH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(*specs: str) -> str:
    with pytest.raises(InvalidValue) as raised:
        load_graphs(specs)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_file_and_a_module_and_an_uncompiled_graph_are_served(tmp_path: Path) -> None:
    written(tmp_path / "support.py")
    written(tmp_path / "shop" / "sales.py")
    graphs = load_graphs([f"a={tmp_path}/support.py:graph", "b=shop.sales:builder"])
    assert [(named.name, named.source) for named in graphs] == [
        ("a", f"{tmp_path}/support.py:graph"),
        ("b", "shop.sales:builder"),
    ]


def test_without_agents_the_bundled_one_is_served() -> None:
    assert [named.name for named in load_graphs([])] == [BUNDLED]


def test_a_users_own_packages_may_be_called_like_our_layers(tmp_path: Path) -> None:
    for layer in ("domain", "application", "adapters", "entrypoints"):
        written(tmp_path / "mine" / layer / "__init__.py", f"NAME = 'my {layer}'")
    imports = "import domain, application, adapters, entrypoints\n"
    check = "\nassert domain.NAME == 'my domain' and entrypoints.NAME == 'my entrypoints'\n"
    written(tmp_path / "mine" / "agent.py", imports + GRAPH + check)
    load_graphs([f"mine={tmp_path}/mine/agent.py:graph"])


def test_a_file_inside_a_package_may_import_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path / "src" / "pack" / "__init__.py", "")
    written(tmp_path / "src" / "pack" / "words.py", "HELLO = 'hello'")
    written(tmp_path / "src" / "pack" / "agent.py", "from .words import HELLO\nfrom pack.words import HELLO\n" + GRAPH)
    (named,) = load_graphs([f"x={tmp_path}/src/pack/agent.py:graph"])
    assert sys.modules["pack.agent"].graph is named.graph.fixed


def test_a_file_is_imported_once_and_under_its_own_name(tmp_path: Path) -> None:
    path = written(tmp_path / "my_agent.py", GRAPH + "\nruns = globals().get('runs', 0) + 1\n")
    first, second = load_graphs([f"a={path}:graph", f"b={path}:builder"])
    assert first.graph.fixed is sys.modules["my_agent"].graph
    assert second.graph.fixed is not first.graph.fixed
    assert sys.modules["my_agent"].runs == 1


def test_a_file_whose_name_is_taken_is_served_all_the_same(tmp_path: Path) -> None:
    written(tmp_path / "one" / "json.py")
    written(tmp_path / "two" / "my-agent.py")
    assert len(load_graphs([f"a={tmp_path}/one/json.py:graph", f"b={tmp_path}/two/my-agent.py:graph"])) == 2
    assert not str(sys.modules["json"].__file__).startswith(str(tmp_path))


def test_every_mistake_is_one_line_that_names_the_agent(tmp_path: Path) -> None:
    written(tmp_path / "good.py", GRAPH + "\nnumber = 7\nimport json\n")
    written(tmp_path / "broken.py", "import json\nraise RuntimeError('first line\\nno key for the model')")
    written(tmp_path / "syntax.py", "def broken(:\n")
    written(tmp_path / "missing.py", "import no_such_package_here")
    written(tmp_path / "leaves.py", "raise SystemExit('bye')")
    written(
        tmp_path / "dangling.py",
        "from langgraph.graph import MessagesState, StateGraph\n"
        "graph = StateGraph(MessagesState).add_edge('nowhere', 'else')\n",
    )
    assert "neither NAME=file.py:variable nor NAME=module:variable" in refusal("good.py:graph")
    assert "neither" in refusal("a=good.py")
    assert "not a name" in refusal("a b=good.py:graph")
    assert refusal("a=gone.py:graph") == "agent a: the file gone.py does not exist"
    assert refusal("a=good.py:nope") == "agent a: good.py has no variable 'nope'"
    assert "good.py:number is a int, not a LangGraph graph" in refusal("a=good.py:number")
    assert "is a module, not" in refusal("a=good.py:json")
    told = "agent a: broken.py does not import: RuntimeError: first line; no key for the model (broken.py:2)"
    assert refusal("a=broken.py:graph") == told
    assert "SyntaxError" in refusal("a=syntax.py:graph")
    assert "syntax.py, line 1" in refusal("a=syntax.py:graph")
    assert "No module named 'no_such_package_here'" in refusal("a=missing.py:graph")
    assert "does not import: SystemExit: bye" in refusal("a=leaves.py:graph")
    assert "No module named 'no_such_module'" in refusal("a=no_such_module:graph")
    assert "does not compile" in refusal("a=dangling.py:graph")
    assert refusal("a=good.py:graph", "a=good.py:builder") == "agent a: is given twice"


def test_a_mistake_is_told_with_the_statement_of_the_users_own_that_made_it(tmp_path: Path) -> None:
    written(tmp_path / "deep" / "words.py", "import json\ndef read():\n    return json.loads('{')\n")
    written(tmp_path / "calls.py", "from deep.words import read\nread()\n")
    written(tmp_path / "lacks.py", "import json\n\nimport no_such_package_here\n")
    written(
        tmp_path / "keys.py",
        "from pydantic import BaseModel\nclass Keys(BaseModel):\n    api_key: str\n    n: int\nKeys(n='secret')\n",
    )
    written(tmp_path / "long.py", "raise ValueError('x' * 5000)")
    assert refusal("a=calls.py:graph").endswith("(char 1) (deep/words.py:3)"), "and not a library's"
    assert refusal("a=lacks.py:graph").endswith("No module named 'no_such_package_here' (lacks.py:3)")
    assert refusal(f"a={tmp_path}/keys.py:graph").endswith(
        "ValidationError: api_key: Field required; "
        "n: Input should be a valid integer, unable to parse string as an integer (keys.py:5)"
    )
    assert refusal("a=long.py:graph").endswith("xxx… (long.py:1)")
    assert len(refusal("a=long.py:graph")) < 600


def test_agents_are_served_by_name_the_default_first(tmp_path: Path) -> None:
    path = written(tmp_path / "two_agents.py")
    graphs = load_graphs([f"b={path}:graph", f"a={path}:builder"])
    checkpoints = MemoryStore(SystemClock()).checkpoints
    agents = load_agents(graphs, checkpoints, commit=CommitMode.SUPERSTEP, exceptions={"a": CommitMode.TURN})
    assert list(agents.names()) == ["b", "a"]
    assert agents.get("a") is agents.get("a")
    with pytest.raises(UnknownAgent, match="'c'"):
        agents.get("c")
    with pytest.raises(InvalidValue, match="not served"):
        load_agents(graphs, checkpoints, commit=CommitMode.TURN, exceptions={"c": CommitMode.TURN})
