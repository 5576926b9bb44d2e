"""Whatever is cut, lost or begun again: what is shown is a prefix of one attempt, and in the end all agrees."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.model_server import ModelServer, Reader, agrees
from unbroken.entrypoints.client.reducer import Conversation

CAN_BE_LOST = {"reset", "token", "tool", "final", "error", "cancelled"}
OFTEN = ["send", "start", "say", "say", "deliver", "deliver", "deliver"]
SELDOM = ["emoji", "tool", "think", "take over", "finish", "fail", "cancel", "edit first", "edit last", "lose", "cut"]


def actions(*more: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from([*OFTEN, *OFTEN, *SELDOM, *more]), min_size=30, max_size=80)


class World:
    def __init__(self) -> None:
        self.server = ModelServer()
        self.conversation = Conversation()
        self.attempts: dict[str, int] = {}
        self.reader: Reader = self.server.connect(self.conversation.resume())

    def do(self, action: str) -> None:
        server = self.server
        while_running = {
            "take over": lambda: server.start("takeover"),
            "say": lambda: server.say("word "),
            "emoji": lambda: server.say("👋"),
            "tool": lambda: server.use("c1", "started"),
            "think": lambda: server.think("hm "),
            "finish": server.finish,
            "fail": server.fail,
            "cancel": server.cancel,
        }
        always = {
            "send": self.send,
            "edit first": lambda: self.edit(0),
            "edit last": lambda: self.edit(-1),
            "forget": server.forget,
            "lose": self.lose,
            "cut": self.reconnect,
        }
        if action in always:
            always[action]()
        elif action == "start" and server.waiting and not server.running:
            server.start()
        elif action == "deliver" and self.reader.frames:
            self.deliver()
        elif action in while_running and server.running:
            while_running[action]()

    def send(self, **options: str) -> None:
        self.reader.receive(dict(self.conversation.send(f"r{len(self.conversation.turns)}", "hi", options)))

    def edit(self, place: int) -> None:
        if shown := self.conversation.branch():
            self.send(replaces=shown[place].request_id)

    def lose(self) -> None:
        if self.reader.frames and self.reader.frames[0]["type"] in CAN_BE_LOST:
            self.reader.frames.popleft()

    def deliver(self) -> None:
        self.conversation.apply(self.reader.frames.popleft())
        if self.conversation.missing:
            self.conversation.history(self.server.history(self.conversation.missing["until"] + 1))
        for turn in self.conversation.turns:
            assert turn.ended or turn.attempt >= self.attempts.get(turn.request_id, 0)
            self.attempts[turn.request_id] = turn.attempt
            if turn.attempt and not turn.ended:
                assert self.server.texts[turn.request_id, turn.attempt].startswith(turn.text)
        if self.conversation.reconnect:
            self.reconnect()

    def reconnect(self) -> None:
        self.server.readers.remove(self.reader)
        self.reader = self.server.connect(self.conversation.resume())
        self.conversation.connected()
        for frame in self.conversation.unsent():
            self.reader.receive(dict(frame))

    def catch_up(self) -> None:
        """Once everything has arrived on one more socket, what stands beside the text is all there, and there once."""
        self.reconnect()
        while self.reader.frames:
            self.deliver()
        if self.server.running:
            turn = self.conversation.turn(self.server.request_id)
            assert turn is not None
            said = [frame["value"] for frame in self.server.beside if frame["type"] == "reasoning"]
            custom = [frame["value"] for frame in self.server.beside if frame["type"] == "custom"]
            if self.server.beside:
                assert "".join(one["text"] for one in turn.reasoning) == "".join(said)
                assert [one["value"] for one in turn.custom] == custom

    def settle(self) -> None:
        self.catch_up()
        while self.server.waiting:
            if not self.server.running:
                self.server.start()
            self.server.say("the end")
            self.server.finish()
        while self.reader.frames:
            self.deliver()


def live_through(actions: list[str]) -> World:
    world = World()
    for action in actions:
        world.do(action)
    world.settle()
    assert world.conversation.missing is None
    assert world.conversation.unsent() == []
    return world


@settings(max_examples=400, deadline=None)
@given(actions())
def test_shown_text_is_a_prefix_of_one_attempt_and_all_agrees_in_the_end(actions: list[str]) -> None:
    world = live_through(actions)
    agrees(world.conversation, world.server)


@settings(max_examples=200, deadline=None)
@given(actions("forget"))
def test_what_the_server_forgot_is_never_made_up(actions: list[str]) -> None:
    world = live_through(actions)
    for end in world.server.log[world.server.floor :]:
        turn = world.conversation.turn(end["requestId"])
        assert turn is not None
        assert turn.ended
