"""A person at a terminal: what they type becomes messages, answers to questions, and commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from msgspec import Struct

from unbroken.entrypoints.client.commands import COMMANDS, command_of, help_lines
from unbroken.entrypoints.client.connection import ChatClient, OnFrame, OnStatus
from unbroken.entrypoints.client.history import NoHistory, fetch_page
from unbroken.entrypoints.client.news import News
from unbroken.entrypoints.client.question_form import form_of
from unbroken.entrypoints.client.reducer import Conversation
from unbroken.entrypoints.client.rest import Rest, RestError
from unbroken.entrypoints.client.screen import Screen, said_text
from unbroken.entrypoints.client.turn import Turn
from unbroken.entrypoints.client.typed import Key, Typed

INTERRUPTED: Final = 130


class Server(Struct, frozen=True):
    """Where it is, and who we are there."""

    url: str
    user_id: str | None
    headers: dict[str, str]

    def client(
        self, thread_id: str, agent_id: str | None, *, start: int = 0, on_frame: OnFrame, on_status: OnStatus
    ) -> ChatClient:
        return ChatClient(
            self.url,
            thread_id,
            agent_id=agent_id,
            user_id=self.user_id,
            headers=self.headers,
            start=start,
            on_frame=on_frame,
            on_status=on_status,
        )

    def rest(self) -> Rest:
        return Rest(self.url, user_id=self.user_id, headers=self.headers)


class Talk:
    """What is typed is sent at once; whoever types ahead waits in the server's queue, not here."""

    def __init__(self, server: Server, lines: Typed, screen: Screen, news: News) -> None:
        self._server = server
        self._rest = server.rest()
        self._lines = lines
        self._screen = screen
        self._news = news
        self._client: ChatClient
        self._thread_id = ""
        self._agent_id: str | None = None
        self._next: tuple[str, str | None] | None = None
        """The thread to go to, and its agent."""
        self._listed: list[dict[str, Any]] = []
        self._said: list[str] = []
        self._answered: dict[str, str] = {}
        """Interrupt id → the request by which it was answered."""
        self._blocks: list[dict[str, Any]] = []
        """Of the files to send with the next message."""
        self._expects: tuple[str, Callable[[str], Awaitable[None]]] | None = None
        """A prompt, and what the next line is for."""
        self._leaving = False

    async def run(self, thread_id: str, agent_id: str | None) -> int:
        """Until the person leaves; the process's exit code. Raises ChatClosed, InvalidURI."""
        self._next = (thread_id, agent_id)
        code: int | None = None
        while code is None:
            assert self._next is not None
            (self._thread_id, self._agent_id), self._next = self._next, None
            self._said, self._blocks, self._answered = [], [], {}
            self._screen.begin()
            self._screen.greet(self._thread_id)
            past = await self._past()
            self._client = self._server.client(
                self._thread_id,
                self._agent_id,
                start=past["cursor"],
                on_frame=lambda _, __: self._show(),
                on_status=self._news.tell,
            )
            self._client.conversation.history(past)
            self._show()
            async with self._client:
                code = await self._converse()
        return code

    async def _past(self) -> dict[str, Any]:
        """What was said lately, without what was replaced since. A new thread has none; a server that is not there
        yet sends it by socket when it is."""
        try:
            page = await fetch_page(self._rest, self._thread_id)
        except NoHistory:
            return {"messages": [], "cursor": 0, "before": None}
        if page["before"] is not None:
            self._screen.note("… what was said earlier is not shown")
        return page

    async def _converse(self) -> int | None:
        """The exit code; None: on to the next thread."""
        while self._next is None and not self._leaving:
            self._label()
            self._screen.ask()
            line = await self._typed()
            if line is Key.INTERRUPT:
                if not await self._stopped():
                    return INTERRUPTED
            elif line is Key.END:
                self._leaving = True
            elif isinstance(line, str):
                self._screen.typed()
                await self._line(line)
        return None if self._next is not None else await self._rest_answered()

    async def _typed(self) -> str | Key:
        next_line = asyncio.create_task(self._lines.get())
        closed = asyncio.create_task(self._client.closed())
        try:
            await asyncio.wait({next_line, closed}, return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                closed.result()
            return next_line.result()
        finally:
            next_line.cancel()
            closed.cancel()
            await asyncio.gather(next_line, closed, return_exceptions=True)

    async def _rest_answered(self) -> int:
        """What was said is waited for; Ctrl-C stops the answer, and once more ends the wait."""
        turns = asyncio.ensure_future(asyncio.gather(*(self._client.ended(said, None) for said in self._said)))
        try:
            while not turns.done():
                typing = asyncio.ensure_future(self._lines.get())
                either: set[asyncio.Future[Any]] = {turns, typing}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if typing.done() and typing.result() is Key.INTERRUPT and not await self._stopped():
                    return INTERRUPTED
                typing.cancel()
            self._show()
            return 0 if all(turn.outcome in {"answered", "cancelled"} for turn in turns.result()) else 1
        finally:
            turns.cancel()

    async def _line(self, line: str) -> None:
        try:
            if self._expects is not None:
                (_, take), self._expects = self._expects, None
                await take(line)
            elif command := command_of(line):
                await self._command(command.name, command.rest)
            elif questions := self._questions():
                await self._answer(questions[0], line)
            elif line.strip():
                await self._say(line[1:] if line.startswith("//") else line)
        except RestError as error:
            self._screen.note(f"✗ {error}", style="red")
        except ValueError as error:
            self._screen.note(f"✗ {error}", style="yellow")

    async def _command(self, name: str, rest: str) -> None:
        if name not in COMMANDS:
            raise ValueError(f"there is no /{name}; /help lists what there is, and // says a slash")
        act: Callable[[str], Awaitable[None]] = getattr(self, f"_do_{name}")
        await act(rest)

    # Talking

    async def _say(self, text: str, replaces: Turn | None = None) -> None:
        blocks, self._blocks = self._blocks, []
        content: str | list[dict[str, Any]] = [{"type": "text", "text": text}, *blocks] if blocks else text
        await self._send(content, replaces)

    async def _send(self, content: str | list[dict[str, Any]], replaces: Turn | None) -> None:
        if replaces is not None and not replaces.accepted:
            self._client.conversation.discard(replaces.request_id)
            self._said = [said for said in self._said if said != replaces.request_id]
            replaces = None
        if replaces is not None and not replaces.ended:
            await self._client.cancel(replaces.request_id)
        self._said.append(await self._client.send(content, replaces=replaces.request_id if replaces else None))

    async def _answer(self, question: dict[str, Any], line: str) -> None:
        value = form_of(question["value"]).answer(line)
        request_id = await self._client.respond(question["interruptId"], value)
        self._answered[question["interruptId"]] = request_id
        self._said.append(request_id)

    async def _stopped(self) -> bool:
        """Whether there was an answer to stop, that nobody has stopped yet."""
        running = [turn for turn in self._client.conversation.branch() if turn.accepted and not turn.ended]
        if not running or any(turn.cancel_wanted or turn.cancelling for turn in running):
            return False
        await self._client.cancel(running[0].request_id)
        self._screen.note("stopping; Ctrl-C once more leaves")
        return True

    def _questions(self) -> list[dict[str, Any]]:
        return [one for one in open_questions(self._client.conversation) if not self._answers(one["interruptId"])]

    def _answers(self, interrupt_id: str) -> bool:
        """Whether an answer of ours is on its way; one that failed or was stopped has left the question open."""
        turn = self._client.conversation.turn(self._answered.get(interrupt_id, ""))
        return turn is not None and turn.outcome not in {"failed", "cancelled"}

    def _last(self) -> Turn:
        """The last message of the person's."""
        for turn in reversed(self._client.conversation.branch()):
            if "content" in turn.said:
                return turn
        raise ValueError("nothing was said yet")

    def _show(self) -> None:
        self._label()
        self._screen.show(self._client.conversation)

    def _label(self) -> None:
        self._screen.prompt = self._expects[0] if self._expects else "answer" if self._questions() else "you"

    # Commands

    async def _do_help(self, rest: str) -> None:
        self._screen.note(*help_lines())

    async def _do_say(self, rest: str) -> None:
        if rest:
            await self._say(rest)

    async def _do_stop(self, rest: str) -> None:
        if not await self._stopped():
            raise ValueError("no answer is on its way")

    async def _do_retry(self, rest: str) -> None:
        last = self._last()
        await self._send(last.said["content"], last)

    async def _do_edit(self, rest: str) -> None:
        last = self._last()

        async def instead(text: str) -> None:
            if not text.strip():
                raise ValueError("left as it is")
            files = (
                [block for block in last.said["content"] if block.get("type") != "text"] if _has_blocks(last) else []
            )
            await self._send([{"type": "text", "text": text}, *files] if files else text, last)

        if rest:
            await instead(rest)
        else:
            self._screen.note(f"instead of: {said_text(last.said)}")
            self._expects = ("edit", instead)

    async def _do_attach(self, rest: str) -> None:
        if not rest:
            raise ValueError("which file? /attach FILE")
        path = Path(rest)
        await self._rest.create(self._thread_id, self._agent_id)
        self._blocks.append(await self._rest.attach(self._thread_id, path))
        self._screen.note(f"{path.name} goes with your next message")

    async def _do_detach(self, rest: str) -> None:
        self._blocks = []

    async def _do_tools(self, rest: str) -> None:
        turns = [turn for turn in self._client.conversation.branch() if turn.attempt]
        if not turns:
            raise ValueError("nothing was answered yet")
        self._screen.unfold(turns[-1])

    async def _do_status(self, rest: str) -> None:
        waiting = sum(not (turn.ended or turn.refused) for turn in self._client.conversation.branch())
        self._screen.note(
            f"{self._news.state}; {self._server.url}",
            f"thread {self._thread_id}, agent {self._agent_id or 'by default'}, {waiting} unanswered",
        )

    async def _do_threads(self, rest: str) -> None:
        self._listed = await self._rest.threads(rest)
        for number, thread in enumerate(self._listed, 1):
            unread = thread["cursor"] - (thread["acked"] or 0)
            marks = [thread["status"]] if thread["status"] != "idle" else []
            marks += [f"{unread} new"] if unread > 0 else []
            here = "▸" if thread["threadId"] == self._thread_id else " "
            more = f"  ({', '.join(marks)})" if marks else ""
            self._screen.note(
                f"{here}{number:>3}. {thread['title'] or 'untitled'}{more}  {thread['threadId']}", style=""
            )
        if not self._listed:
            self._screen.note("no thread" + (f" with {rest!r}" if rest else " yet"))

    async def _do_open(self, rest: str) -> None:
        thread = await self._named(rest)
        self._next = (thread["threadId"], thread["agentId"])

    async def _do_new(self, rest: str) -> None:
        self._next = (uuid4().hex, rest or None)

    async def _do_rename(self, rest: str) -> None:
        if not rest:
            raise ValueError("what is it to be called? /rename TITLE")
        await self._rest.create(self._thread_id, self._agent_id)
        renamed = await self._rest.rename(self._thread_id, rest)
        self._screen.note(f"now called {renamed['title']}")

    async def _do_delete(self, rest: str) -> None:
        thread = await self._named(rest or self._thread_id)

        async def confirmed(line: str) -> None:
            if line.strip().casefold() not in {"y", "yes"}:
                raise ValueError("kept")
            if thread["threadId"] == self._thread_id:
                self._next = (uuid4().hex, self._agent_id)
            await self._rest.delete(thread["threadId"])
            self._screen.note("deleted")

        self._expects = (f"delete {thread['title'] or thread['threadId']} for ever? yes or no", confirmed)

    async def _do_quit(self, rest: str) -> None:
        self._leaving = True

    async def _named(self, words: str) -> dict[str, Any]:
        """The thread of a number in the last list, or of an id."""
        if words.isdigit() and 1 <= int(words) <= len(self._listed):
            return self._listed[int(words) - 1]
        if not words:
            raise ValueError("which one? /threads lists them")
        return await self._rest.thread(words)


def open_questions(conversation: Conversation) -> list[dict[str, Any]]:
    """Of what is shown, in the order they were asked."""
    return [one for turn in conversation.branch() for one in turn.questions if one["outcome"] is None]


def _has_blocks(turn: Turn) -> bool:
    return isinstance(turn.said["content"], list)
