"""`unbroken chat`: a conversation in the terminal, or over a pipe: each line a message, or an answer to a question."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Mapping
from typing import Final
from uuid import uuid4

from rich.console import Console
from websockets.exceptions import InvalidURI

from unbroken.entrypoints.client.connection import ChatClient, ChatClosed
from unbroken.entrypoints.client.news import News
from unbroken.entrypoints.client.question_form import form_of
from unbroken.entrypoints.client.screen import Screen
from unbroken.entrypoints.client.talk import INTERRUPTED, Server, Talk, open_questions
from unbroken.entrypoints.client.turn import Turn
from unbroken.entrypoints.client.typed import Typed, interrupts, typed

STDIN: Final = 0


async def chat(
    url: str,
    *,
    thread_id: str | None = None,
    agent_id: str | None = None,
    user_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    stdin: int = STDIN,
) -> int:
    """Talk until the input ends and everything said was answered; the process's exit code.

    0: all was answered. 1: something was refused or failed, or the server does not want us. 130: Ctrl-C.
    """
    server = Server(url, user_id, dict(headers or {}))
    interactive = os.isatty(stdin)
    screen = Screen(Console(markup=False, highlight=False, soft_wrap=True), interactive=interactive)
    news = News(screen, interactive=interactive)
    lines = typed(stdin)
    thread_id = thread_id or uuid4().hex
    try:
        if interactive:
            with interrupts(lines):
                return await _left(Talk(server, lines, screen, news).run(thread_id, agent_id))
        client = server.client(
            thread_id,
            agent_id,
            on_frame=lambda _, conversation: screen.show(conversation),
            on_status=news.tell,
        )
        async with client:
            return await _recite(client, lines, screen)
    except (ChatClosed, InvalidURI) as end:
        advice = getattr(end, "advice", "")
        print(f"unbroken: {end}{': ' + advice if advice else ''}", file=sys.stderr)
        return 1


async def _left(talking: Awaitable[int]) -> int:
    """Whoever leaves in mid-line gets a fresh one for their shell."""
    try:
        code = await talking
    except asyncio.CancelledError:
        code = INTERRUPTED
    if code == INTERRUPTED:
        print(file=sys.stderr)
    return code


async def _recite(client: ChatClient, lines: Typed, screen: Screen) -> int:
    """Line by line, each after the answer to the one before: a pipe cannot take back what it said too early. While a
    question is open, the next line answers it."""
    turns: list[Turn] = []
    understood = True
    while isinstance(line := await lines.get(), str):
        if not line.strip():
            continue
        question = next(iter(open_questions(client.conversation)), None)
        try:
            if question is None:
                request_id = await client.send(line)
            else:
                answer = form_of(question["value"]).answer(line)
                request_id = await client.respond(question["interruptId"], answer)
        except ValueError as error:
            print(f"unbroken: {error}", file=sys.stderr)
            understood = False
            continue
        screen.mine(request_id)
        turn = await client.ended(request_id, timeout=None)
        if turn.final and turn.final["waiting"]:
            await client.until(lambda: bool(open_questions(client.conversation)), None)
        turns.append(turn)
        screen.show(client.conversation)
    return 0 if understood and all(turn.outcome == "answered" for turn in turns) else 1
