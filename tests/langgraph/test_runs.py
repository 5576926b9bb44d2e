"""Runs and state updates as LangGraph's own clients ask for them; a graph with LangGraph's own saver is the oracle."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.langgraph.driving import Chat, Crash, Store
from tests.langgraph.scripted import chain, model_node
from unbroken.adapters.langgraph.history import Graph, kept_by
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.errors import AgentRaised, BranchGone, QuestionClosed
from unbroken.domain.events import InputResponse, RunStart, StateUpdate
from unbroken.domain.policy import question_id, questions_after
from unbroken.domain.turn import Answer

pytestmark = pytest.mark.asyncio


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]


def logs(name: str) -> Any:
    def node(state: State) -> dict[str, Any]:
        return {"log": [name], "messages": [AIMessage(f"{name} after {len(state['log'])}")]}

    return node


def asks(name: str) -> Any:
    def node(state: State) -> dict[str, Any]:
        return {"log": [f"{name}: {interrupt(name)}"]}

    return node


def human(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text, **more}], "log": []}


STEPS = chain(("one", logs("one")), ("two", logs("two")), ("three", logs("three")), state=State)
ASKS = chain(("one", logs("one")), ("ask", asks("ask")), ("two", logs("two")), state=State)


def side_by_side() -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, asks(name))
        builder.add_edge(START, name)
        builder.add_edge(name, "end")
    builder.add_node("end", logs("end"))
    builder.add_edge("end", END)
    return builder.compile()


def routed() -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)

    def first(state: State) -> Command[Any]:
        return Command(goto=[Send("part", {"n": n}) for n in range(2)], update={"log": ["first"]})

    builder.add_node("first", first, destinations=("part",))
    builder.add_node("part", lambda state: {"log": [f"part {state['n']}"]})
    builder.add_node("aside", logs("aside"))
    builder.add_edge(START, "first")
    return builder.compile()


def within() -> Graph:
    inner = chain(("deep", asks("deep")), ("after", logs("after")), state=State)
    return chain(("before", logs("before")), ("inner", inner), state=State)


class Ours:
    """What is asked, asked of us."""

    def __init__(self, graph: Graph, store: Store | None = None) -> None:
        self.chat = Chat(graph, store=store)

    async def run(self, entry: Any = None, *, step: int | None = None, **more: Any) -> Answer:
        command = {"command": entry.command} if isinstance(entry, Order) else {"input": entry}
        return await self.event(RunStart(**command, checkpoint_id=await self.checkpoint(step), **more))

    async def update(self, values: Any, as_node: str | None = None, *, step: int | None = None) -> Answer:
        return await self.event(StateUpdate(values, as_node, await self.checkpoint(step)))

    async def event(self, body: RunStart | StateUpdate | InputResponse) -> Answer:
        self.last = await self.chat.say(body)
        return self.last

    async def checkpoint(self, step: int | None) -> str | None:
        """The newest one of this step."""
        if step is None:
            return None
        found = await self.chat.store.checkpoints.history(self.chat.key.thread_id, "")
        return next(one.row.checkpoint_id for one in found if json.loads(one.row.metadata)["step"] == step)

    async def ids(self) -> dict[str, str]:
        """Of the open questions, by what they ask."""
        return asked(self.last)

    async def ended(self) -> dict[str, Any]:
        head = await self.chat.store.checkpoints.load(self.chat.key.thread_id, "", None)
        saver = StagingSaver(
            self.chat.store.checkpoints, self.chat.key.thread_id, head=head.row.checkpoint_id if head else ""
        )
        return await state_of(kept_by(self.chat.graph, saver), self.chat.key.thread_id)


class Theirs:
    """The same, asked of the graph itself."""

    def __init__(self, graph: Graph) -> None:
        self.graph: Graph = kept_by(graph, InMemorySaver())

    async def run(self, entry: Any = None, *, step: int | None = None, **more: Any) -> None:
        given = Command(**entry.command) if isinstance(entry, Order) else entry
        await self.graph.ainvoke(given, await self.config(step), durability="sync", **more)

    async def update(self, values: Any, as_node: str | None = None, *, step: int | None = None) -> None:
        await self.graph.aupdate_state(await self.config(step), values, as_node)

    async def config(self, step: int | None) -> RunnableConfig:
        thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
        if step is None:
            return thread
        found = [one async for one in self.graph.aget_state_history(thread)]
        return next(one.config for one in found if one.metadata and one.metadata["step"] == step)

    async def ids(self) -> dict[str, str]:
        state = await self.graph.aget_state(await self.config(None))
        return {one.value: one.id for one in state.interrupts}

    async def ended(self) -> dict[str, Any]:
        return await state_of(self.graph, "t")


class Order:
    """A command, as JSON where it is ours and as LangGraph's where it is theirs."""

    def __init__(self, **command: Any) -> None:
        self.command = command


async def state_of(graph: Graph, thread_id: str) -> dict[str, Any]:
    state = await graph.aget_state({"configurable": {"thread_id": thread_id}})
    messages: Sequence[BaseMessage] = state.values.get("messages", [])
    return {
        "log": state.values.get("log"),
        "messages": [(message.type, message.content) for message in messages],
        "next": sorted(state.next),
        "asked": sorted(str(one.value) for one in state.interrupts),
    }


async def plain(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(human("again", id="mine"))


async def resumes(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume={"any": "json"}))


async def input_instead_of_an_answer(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(human("never mind"))


async def resumes_with_an_update(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume="yes", update={"log": ["besides"]}))


async def goes_elsewhere(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(goto="two", update={"log": ["jumped"]}))


async def replays(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(None, step=1)


async def branches_with_new_input(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(human("again"))
    await who.run(human("instead"), step=2)
    await who.run(human("and on"))


async def asks_anew(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume="yes"))
    await who.run(None, step=1)


async def asks_anew_and_is_answered(who: Any) -> None:
    await asks_anew(who)
    await who.run(Order(resume="later"))


async def asks_both_anew(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume={(await who.ids())["left"]: "l"}))
    await who.run(None, step=0)


async def stops_where_it_is_told(who: Any) -> None:
    await who.run(human("hi"), interrupt_before=["two"])


async def goes_on_from_a_stop(who: Any) -> None:
    await who.run(human("hi"), interrupt_after=["one"])
    await who.run(None, interrupt_before="*")
    await who.run(None)


async def updates(who: Any) -> None:
    await who.run(human("hi"))
    await who.update({"log": ["changed"]}, "one")
    await who.run(None)


async def updates_a_new_thread(who: Any) -> None:
    await who.update(human("written"), "__start__")
    await who.run(None)


async def updates_in_the_past(who: Any) -> None:
    await who.run(human("hi"))
    await who.update({"log": ["changed"]}, "one", step=1)
    await who.run(None)


async def clears(who: Any) -> None:
    await who.run(human("hi"), interrupt_before=["two"])
    await who.update(None, END)


async def updates_while_it_asks(who: Any) -> None:
    await who.run(human("hi"))
    await who.update({"log": ["meanwhile"]})
    await who.run(Order(resume="yes"))


SCRIPTS: list[tuple[Graph, Callable[[Any], Any]]] = [
    (STEPS, plain),
    (ASKS, resumes),
    (ASKS, resumes_with_an_update),
    (ASKS, input_instead_of_an_answer),
    (STEPS, goes_elsewhere),
    (STEPS, replays),
    (STEPS, branches_with_new_input),
    (ASKS, asks_anew),
    (ASKS, asks_anew_and_is_answered),
    (within(), resumes),
    (within(), asks_anew_and_is_answered),
    (within(), replays),
    (side_by_side(), asks_both_anew),
    (STEPS, stops_where_it_is_told),
    (STEPS, goes_on_from_a_stop),
    (STEPS, updates),
    (STEPS, updates_a_new_thread),
    (STEPS, updates_in_the_past),
    (STEPS, clears),
    (ASKS, updates_while_it_asks),
    (routed(), plain),
]


@pytest.mark.parametrize(("graph", "script"), SCRIPTS, ids=lambda value: getattr(value, "__name__", ""))
async def test_runs_end_as_they_do_with_langgraphs_own_saver(
    graph: Graph, script: Callable[[Any], Any], store: Store
) -> None:
    ours, theirs = Ours(graph, store), Theirs(graph)
    await script(ours)
    await script(theirs)
    assert await ours.ended() == await theirs.ended()


@pytest.mark.parametrize(("graph", "first"), [(ASKS, ["one"]), (within(), ["before"])], ids=["root", "within"])
async def test_a_question_of_the_past_gets_the_new_answer(graph: Graph, first: list[str], store: Store) -> None:
    """LangGraph's own savers keep the answer of then beside that checkpoint, and give that one again."""
    ours = Ours(graph, store)
    await ours.run(human("hi"))
    await ours.run(Order(resume="yes"))
    old = (await ours.ended())["log"]
    await ours.run(Order(resume="no"), step=1)
    assert [entry.replace("yes", "no") for entry in old] == (await ours.ended())["log"][len(first) - 1 :]


async def test_goto_may_send_something_along() -> None:
    ours = Ours(routed())
    await ours.run(human("hi"))
    before = len((await ours.ended())["log"])
    await ours.run(Order(goto=[{"node": "part", "input": {"n": 7}}, "aside"]))
    assert sorted((await ours.ended())["log"][before:]) == ["aside", "part 7"]


async def test_a_list_updates_the_state_once_for_each() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    await ours.update([{"log": ["a"]}, {"log": ["b"]}], "three")
    ended = await ours.ended()
    assert (ended["log"][-2:], ended["next"]) == (["a", "b"], [])


def asked(answer: Answer) -> dict[str, str]:
    return {str(question.value): question.interrupt_id for question in answer.questions}


async def test_one_of_two_questions_may_be_answered_under_either_id() -> None:
    for named in (lambda own: own, lambda own: question_id(own, 1)):
        ours = Ours(side_by_side())
        ids = asked(await ours.run(human("hi")))
        claim = await ours.chat.accept(RunStart(command={"resume": {named(ids["left"]): "l"}}))
        answer = await ours.chat.run(claim)
        assert asked(answer) == {"right": ids["right"]}
        after = questions_after(claim, answer.questions)
        assert [(one.interrupt_id, one.outcome) for one in after.closed] == [(question_id(ids["left"], 1), "answered")]
        assert after.open == (question_id(ids["right"], 1),)
        await ours.event(InputResponse(question_id(ids["right"], 1), "r"))
        assert sorted((await ours.ended())["log"]) == ["end", "left: l", "right: r"]


async def test_two_questions_may_be_answered_at_once() -> None:
    ours = Ours(side_by_side())
    ids = asked(await ours.run(human("hi")))
    await ours.run(Order(resume={ids["left"]: "l", ids["right"]: "r", "0" * 32: "nobody's"}))
    assert sorted((await ours.ended())["log"]) == ["end", "left: l", "right: r"]


async def test_what_nobody_asks_cannot_be_answered() -> None:
    ours = Ours(ASKS)
    with pytest.raises(QuestionClosed):
        await ours.run(Order(resume="yes"))
    ours = Ours(ASKS)
    await ours.run(human("hi"))
    with pytest.raises(QuestionClosed):
        await ours.run(Order(resume={"0" * 32: "yes"}))


async def test_who_answers_nothing_is_told_so_and_closes_nothing() -> None:
    ours = Ours(ASKS)
    await ours.run(human("hi"))
    claim = await ours.chat.accept(RunStart(command={"resume": {}}))
    with pytest.raises(AgentRaised, match="empty object"):
        await ours.chat.work(claim)


async def test_a_question_that_is_asked_again_is_not_answered_under_its_former_name() -> None:
    ours = Ours(side_by_side())
    ids = asked(await ours.run(human("hi")))
    await ours.run(None)  # nobody has answered, and both are asked anew
    claim = await ours.chat.accept(RunStart(command={"resume": {question_id(ids["left"], 1): "late"}}))
    assert claim.open_questions == tuple(question_id(id_, 2) for id_ in ids.values())
    with pytest.raises(QuestionClosed):
        await ours.chat.work(claim)


@pytest.mark.parametrize("form", ["own", "ours"])
async def test_a_run_that_names_a_breakpoint_passes_it_only_with_true(form: str) -> None:
    for answer, log in ((False, ["one"]), (True, ["one", "ask: next", "three"])):
        ours = Ours(chain(("one", logs("one")), ("two", asks("ask")), ("three", logs("three")), state=State))
        (id_,) = asked(await ours.run(human("hi"), interrupt_before=["two"])).values()
        named = id_ if form == "own" else question_id(id_, 1)
        await ours.run(Order(resume={named: answer}))
        if answer:
            assert list(asked(ours.last)) == ["ask"], "the answer was one to the breakpoint alone"
            await ours.run(Order(resume="next"))
        assert (await ours.ended())["log"] == log


@pytest.mark.parametrize(
    "wrong", [{"resum": 1}, {"goto": 7}, {"goto": [{"input": 1}]}, {"update": [["a"]]}, {"update": ["a"]}]
)
async def test_what_is_no_command_fails_the_turn_and_says_why(wrong: dict[str, Any]) -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    with pytest.raises(AgentRaised, match=r"command|goto|update"):
        await ours.run(Order(**wrong))


async def test_pairs_may_update_a_channel_twice() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    await ours.run(Order(update=[["log", ["a"]], ["log", ["b"]]], goto="three"))
    assert (await ours.ended())["log"][-3:] == ["a", "b", "three"]


def looking(seen: dict[str, Any]) -> Graph:
    def node(state: State, config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
        seen.update(config=config, context=runtime.context)
        return {"log": ["looked"]}

    return chain(("look", node), state=State)


async def test_a_runs_config_reaches_its_nodes_but_names_no_thread_and_no_user() -> None:
    seen: dict[str, Any] = {}
    ours = Ours(looking(seen))
    theirs = {"thread_id": "x", "user_id": "x", "checkpoint_id": "x", "__pregel_read": "x", "langgraph_auth_user": "x"}
    config = {"tags": ["a"], "metadata": {"b": 1}, "recursion_limit": 7, "configurable": {**theirs, "tone": "dry"}}
    await ours.run(human("hi"), config=config, metadata={"c": 2}, context={"d": 3})
    configurable = seen["config"]["configurable"]
    assert (configurable["tone"], configurable["user_id"]) == ("dry", "ann")
    assert configurable["thread_id"] == ours.chat.key.thread_id
    assert "langgraph_auth_user" not in configurable
    assert configurable.get("checkpoint_id") != "x"
    assert seen["config"]["recursion_limit"] == 7
    assert "a" in seen["config"]["tags"]
    metadata = seen["config"]["metadata"]
    assert (metadata["b"], metadata["c"], metadata["run_id"]) == (1, 2, ours.chat.seen.claim.event.id)
    assert seen["context"] == {"d": 3}


async def test_a_runs_limit_of_steps_holds() -> None:
    ours = Ours(STEPS)
    with pytest.raises(AgentRaised, match="limit of steps"):
        await ours.run(human("hi"), config={"recursion_limit": 2})


async def test_what_came_with_a_run_is_not_its_answer() -> None:
    ours = Ours(chain(("say", model_node()), state=State))
    given = [human("one")["messages"][0], {"type": "ai", "content": "two"}, human("three", id="mine")["messages"][0]]
    answer = await ours.run({"messages": given})
    assert answer.text == "you said three"
    assert [message["role"] for message in answer.content] == ["assistant"]
    event_id = ours.chat.seen.claim.event.id
    assert [message.id for message in await ours.chat.messages()][:3] == [f"{event_id}:0", f"{event_id}:1", "mine"]


async def test_unanswered_calls_are_closed_before_other_input() -> None:
    call = {"name": "look", "args": {}, "id": "c1"}

    def model(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[call]) if len(messages) == 1 else AIMessage("well")

    ours = Ours(chain(("say", model_node(model)), state=State))
    await ours.run(human("hi"))
    await ours.run(human("never mind"))
    assert [message.type for message in await ours.chat.messages()] == ["human", "ai", "tool", "human", "ai"]
    ours = Ours(chain(("say", model_node(model)), state=State))
    await ours.run(human("hi"))
    await ours.run({"messages": [{"type": "tool", "content": "done in the browser", "tool_call_id": "c1"}]})
    messages = await ours.chat.messages()
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert isinstance(messages[2], ToolMessage)
    assert messages[2].status == "success"


async def test_a_checkpoint_that_is_not_there_is_said_to_be_gone() -> None:
    for body in (RunStart(input=human("x"), checkpoint_id=str(uuid4())), StateUpdate({}, "one", str(uuid4()))):
        ours = Ours(STEPS)
        await ours.run(human("hi"))
        with pytest.raises(BranchGone):
            await ours.event(body)


async def test_a_wrong_node_fails_the_update_and_leaves_the_state() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    before = await ours.ended()
    with pytest.raises(AgentRaised, match="nobody"):
        await ours.update({"log": ["x"]}, "nobody")
    assert await ours.ended() == before


async def test_an_update_asks_nobody_whether_to_go_on() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    answer = await ours.update({"log": ["x"]}, "one")
    assert (answer.questions, answer.text, answer.content) == ((), "", [])
    assert (await ours.ended())["next"] == ["two"]


async def test_a_stop_that_a_run_asked_for_is_a_question_in_the_chat() -> None:
    ours = Ours(STEPS)
    answer = await ours.run(human("hi"), interrupt_before=["two"])
    (question,) = answer.questions
    assert question.value == {"type": "breakpoint", "nodes": ["two"]}
    await ours.event(InputResponse(question_id(question.interrupt_id, 1), True))
    assert (await ours.ended())["log"] == ["one", "two", "three"]


class Dying:
    """A node that dies the first time."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def node(self, name: str, *, dies: bool = False) -> Any:
        def run(state: State) -> dict[str, Any]:
            self.runs.append(name)
            if dies and self.runs.count(name) == 1:
                raise Crash
            return {"log": [name], "messages": [AIMessage(name)]}

        return run


async def crashed(ours: Ours, body: RunStart) -> None:
    with pytest.raises(Crash):
        await ours.event(body)
    await ours.chat.run(await ours.chat.reclaim())


async def test_a_crash_in_a_run_repeats_the_superstep_it_hit_and_gives_its_input_once(store: Store) -> None:
    for place in ("one", "two"):
        dying = Dying()
        nodes = [(name, dying.node(name, dies=name == place)) for name in ("one", "two", "three")]
        ours = Ours(chain(*nodes, state=State), store)
        await crashed(ours, RunStart(input=human("hi"), config={"configurable": {"k": 1}}))
        assert (await ours.ended())["log"] == ["one", "two", "three"]
        assert [message.type for message in await ours.chat.messages()] == ["human", "ai", "ai", "ai"]
        assert dying.runs.count(place) == 2
        assert len(dying.runs) == 4


async def test_a_crash_on_a_branch_goes_on_there(store: Store) -> None:
    dying = Dying()
    graph = chain(("one", logs("one")), ("two", logs("two")), ("three", logs("three")), state=State)
    ours = Ours(graph, store)
    await ours.run(human("hi"))
    await ours.run(human("again"))
    place = await ours.checkpoint(1)
    nodes = [("one", dying.node("one")), ("two", dying.node("two")), ("three", dying.node("three", dies=True))]
    ours.chat = renewed(ours.chat, chain(*nodes, state=State))
    await crashed(ours, RunStart(input=human("instead"), checkpoint_id=place))
    assert (await ours.ended())["log"] == ["one", "one", "two", "three"]
    assert dying.runs == ["one", "two", "three", "three"]


def renewed(chat: Chat, graph: Graph) -> Chat:
    """The same thread, with another version of its graph."""
    chat.graph = graph
    chat.agent = type(chat.agent)(graph, chat.store.checkpoints)
    return chat


async def test_a_crash_leaves_a_stop_where_the_run_asked_for_it(store: Store) -> None:
    dying = Dying()
    nodes = [(name, dying.node(name, dies=name == "two")) for name in ("one", "two", "three", "four")]
    ours = Ours(chain(*nodes, state=State), store)
    await crashed(ours, RunStart(input=human("hi"), interrupt_before=["four"]))
    assert await ours.ended() | {"messages": []} == {
        "log": ["one", "two", "three"],
        "messages": [],
        "next": ["four"],
        "asked": [],
    }


async def test_a_crash_at_such_a_stop_does_not_pass_it(store: Store) -> None:
    for stop in ({"interrupt_before": ["two"]}, {"interrupt_after": "*"}):
        ours = Ours(STEPS, store)
        claim = await ours.chat.accept(RunStart(input=human("hi"), **stop))
        await ours.chat.agent.run(await ours.chat.begun(claim))  # and the process dies before the end is committed
        await ours.chat.run(await ours.chat.reclaim())
        ended = await ours.ended()
        assert (ended["log"], ended["next"]) == (["one"], ["two"])


async def test_a_crash_in_a_resumed_run_answers_once(store: Store) -> None:
    dying = Dying()
    ours = Ours(chain(("ask", asks("ask")), ("two", dying.node("two", dies=True)), state=State), store)
    await ours.run(human("hi"))
    await crashed(ours, RunStart(command={"resume": "yes", "update": {"log": ["besides"]}}))
    assert (await ours.ended())["log"] == ["besides", "ask: yes", "two"]


async def test_a_run_that_is_stopped_keeps_what_it_said_and_what_it_was_told() -> None:
    reached = asyncio.Event()

    async def node(state: State) -> dict[str, Any]:
        reached.set()
        await asyncio.Event().wait()
        return {}

    ours = Ours(chain(("one", logs("one")), ("wait", node), state=State))
    await ours.chat.stop(await ours.chat.accept(RunStart(input=human("hi"))), reached)
    assert [(message.type, message.content) for message in await ours.chat.messages()] == [
        ("human", "hi"),
        ("ai", "one after 0"),
    ]
