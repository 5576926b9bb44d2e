"""What can be typed besides messages: a line that begins with a slash. No I/O: names, words and how to read them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "help": ("", "what can be typed"),
    "threads": ("[WORDS]", "your threads, newest first, or those with these words in them"),
    "open": ("NUMBER|ID", "go to another thread: its number in the last list, or its id"),
    "new": ("[AGENT]", "begin a new thread"),
    "rename": ("TITLE", "give this thread a title"),
    "delete": ("[NUMBER|ID]", "delete a thread for ever; without more, this one"),
    "stop": ("", "stop the answer, as Ctrl-C does"),
    "retry": ("", "have your last message answered again"),
    "edit": ("[TEXT]", "say TEXT instead of your last message; without it, the next line is taken"),
    "attach": ("FILE", "send a file with your next message"),
    "detach": ("", "send none after all"),
    "tools": ("", "the last answer's tool calls, unfolded"),
    "say": ("TEXT", "say something else while a question is open"),
    "status": ("", "where you are and how the connection is"),
    "quit": ("", "leave, as Ctrl-D does"),
}


class Command(Struct, frozen=True):
    name: str
    rest: str = ""


def command_of(line: str) -> Command | None:
    """None: the line is to be said as it is. Two slashes say one."""
    if not line.startswith("/") or line.startswith("//"):
        return None
    name, _, rest = line[1:].partition(" ")
    return Command(name.strip().casefold(), rest.strip())


def help_lines() -> list[str]:
    width = max(len(f"/{name} {words}") for name, (words, _) in COMMANDS.items())
    shown = [f"{f'/{name} {words}':<{width}}  {meaning}" for name, (words, meaning) in COMMANDS.items()]
    return [*shown, "A line that begins with // is said with one slash. Ctrl-C stops the answer; once more, it leaves."]
