"""`unbroken serve | chat | migrate | agents | database | export | erase | inspect | doctor | retry`.

Every expected failure is one line on stderr and a non-zero exit.

A command imports what it needs when it runs: the server's libraries take seconds to load, which `--help` and the chat
need not wait for, and Ctrl-C while they load is answered like any other.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from unbroken.adapters.postgres.embedded_errors import AlreadyServed, EmbeddedError
from unbroken.domain.errors import UnbrokenError
from unbroken.entrypoints.listener import listen
from unbroken.entrypoints.stopping import Stopping

if TYPE_CHECKING:
    from unbroken.entrypoints.settings import Settings


def main() -> None:
    """The console command."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except AlreadyServed as error:
        _fail(str(error), 3)
    except (EmbeddedError, UnbrokenError) as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"unbroken: {message}", err=True)
    sys.exit(code)


def _settings(given: dict[str, Any], worker: int | None = None) -> Settings:
    from unbroken.entrypoints import logs
    from unbroken.entrypoints.settings import SettingsError, read_settings

    try:
        settings = read_settings(**{name: value for name, value in given.items() if value not in (None, ())})
    except SettingsError as error:
        _fail(str(error), 1)
    logs.configure(settings, worker=worker)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unbroken")
def cli() -> None:
    """Durable conversations for LangGraph agents."""


_agents = click.option(
    "--agent",
    "agents",
    multiple=True,
    metavar="NAME=WHERE",
    help="Serve a graph: NAME=file.py:variable or NAME=module:variable. Repeatable; the first is the default.",
)
_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Serve a LangGraph project: its langgraph.json. Absent: the one of this folder, if no agents are named.",
)
_data_dir = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the embedded PostgreSQL keeps its data."
)


@cli.command()
@_agents
@_config
@_data_dir
@click.option("--host", help="Address to serve on.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option("--in-memory", is_flag=True, default=None, help="No database: everything is forgotten at exit.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve the port; 1 unless said otherwise.")
@click.option("--reload", "reloads", is_flag=True, help="For development: start again whenever the files change.")
def serve(reloads: bool, **given: Any) -> None:
    """Serve agents over WebSockets; the page is at /."""
    with Stopping() as stopping:
        environment = dict(os.environ)
        settings = _settings(given)
        options = {name: given[name] for name in ("agents", "config", "host") if given[name]}
        if "config" in options:
            options["config"] = str(options["config"])
        if reloads:
            from unbroken.entrypoints.reloading import run_reloading

            in_memory = {"in_memory": True} if settings.in_memory else {}
            run_reloading(settings, {**options, **in_memory}, stopping, environment)
            return
        if settings.workers > 1:
            from unbroken.entrypoints.workers import run_workers

            run_workers(settings, options, stopping)
            return
        # Before libraries and graphs are loaded, which takes time: clients give up after some refusals, but wait for
        # whoever has taken their connection.
        with listen(settings.host, settings.port) as listener:
            from unbroken.entrypoints.server import run

            run(settings, stopping, listener)


@cli.command(hidden=True)
@click.argument("task")
def worker(task: str) -> None:
    """What `serve --workers` starts."""
    from unbroken.entrypoints.worker import Task, Worker

    with Stopping(alone=False) as stopping:
        told = Task.parse(task)
        settings = _settings(told.options, told.number)
        this = Worker(told)
        from unbroken.entrypoints.server import run

        with listen(settings.host, settings.port, shared=True) as listener:
            run(settings, stopping, listener, this)


@cli.command()
@_data_dir
def migrate(**given: Any) -> None:
    """Bring the database's schema up to date, and stop."""
    settings = _settings(given)
    from unbroken.entrypoints.served_database import database as served

    with served(settings):
        click.echo("the database is up to date", err=True)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_data_dir
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def database(program: str, arguments: tuple[str, ...], **given: Any) -> None:
    """Run a program of PostgreSQL's (pg_dump, pg_restore, psql …) on the database that is served from."""
    settings = _settings(given)
    from unbroken.entrypoints.database_program import run_program

    sys.exit(run_program(settings, program, arguments))


@cli.command()
@_data_dir
@click.argument("user")
def export(user: str, **given: Any) -> None:
    """Write everything that is stored of USER to stdout: one JSON object a line, files in base64."""
    settings = _settings(given)
    from unbroken.entrypoints.maintenance import export_user, reached_database

    with reached_database(settings) as url:
        records = asyncio.run(export_user(url, user, sys.stdout.buffer))
    click.echo(f"{records} records of {user!r}", err=True)


@cli.command()
@_data_dir
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(user: str, yes: bool, **given: Any) -> None:
    """Remove everything of USER for ever: threads, messages, files, agents' states, and that there was such a user."""
    settings = _settings(given)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is here to ask: say --yes to erase without being asked")
        click.confirm(f"Erase everything of user {user!r} for ever?", abort=True, err=True)
    from unbroken.entrypoints.maintenance import erase_user, reached_database

    with reached_database(settings) as url:
        threads = asyncio.run(erase_user(url, user))
    click.echo(f"erased {threads} threads of {user!r}", err=True)


@cli.command()
@_data_dir
@click.option("--request", "request_id", help="Only the event of this request.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many events, from the last."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: the session, then each event.")
@click.argument("session")
def inspect(session: str, request_id: str | None, limit: int, as_json: bool, **given: Any) -> None:
    """Tell what became of each message of SESSION: userId:agentId:threadId, or a thread's id.

    Every event, attempt, checkpoint, effect, delivery and acknowledgement in order, with its time and how long it came
    after the stage before; what was not stored is not known.
    """
    settings = _settings(given)
    from unbroken.entrypoints.inspection import read_session, session_json, session_lines
    from unbroken.entrypoints.maintenance import reached_database

    with reached_database(settings) as url:
        facts = asyncio.run(read_session(url, session, limit=limit, request_id=request_id))
    for line in (session_json if as_json else session_lines)(facts):
        click.echo(line)


@cli.command()
@_data_dir
def doctor(**given: Any) -> None:
    """Tell what is stuck, since when, and what to do; the exit code is 1 if anything is."""
    settings = _settings(given)
    from unbroken.entrypoints.inspection import find_trouble, finding_lines
    from unbroken.entrypoints.maintenance import reached_database

    with reached_database(settings) as url:
        findings = asyncio.run(find_trouble(url, turn_limit_s=settings.turn_limit_s))
    for line in finding_lines(findings):
        click.echo(line)
    sys.exit(1 if findings else 0)


@cli.command()
@_data_dir
@click.argument("session")
@click.argument("effect")
def retry(session: str, effect: str, **given: Any) -> None:
    """Give EFFECT of SESSION, which was given up, one more try."""
    settings = _settings(given)
    from unbroken.entrypoints import inspection
    from unbroken.entrypoints.maintenance import reached_database

    with reached_database(settings) as url:
        if not asyncio.run(inspection.retry(url, session, effect)):
            _fail(f"{effect} was not given up", 1)
    click.echo(f"{effect} is tried again", err=True)


@cli.command()
@_agents
@_config
def agents(**given: Any) -> None:
    """Load the agents and list them; the first is the default."""
    settings = _settings(given)
    from unbroken.entrypoints.server import agent_graphs

    for graph in agent_graphs(settings):
        click.echo(f"{graph.name}\t{graph.source}")


@cli.command()
@click.option("--url", default="ws://127.0.0.1:8000", show_default=True, help="The server.")
@click.option("--thread", "thread_id", help="Go on with this thread; absent: begin a new one.")
@click.option("--agent", "agent_id", help="Talk to this agent; absent: the server's default.")
@click.option("--user", "user_id", help="Who is talking, where the server asks nobody else.")
@click.option("--token-file", type=click.File(), help="A file that holds a token, where the server asks for one.")
def chat(url: str, thread_id: str | None, agent_id: str | None, user_id: str | None, token_file: TextIO | None) -> None:
    """Talk to a running server in the terminal; reads lines from a pipe as well."""
    from unbroken.entrypoints.client.chat import chat as converse

    headers = {"Authorization": f"Bearer {token_file.read().strip()}"} if token_file else {}
    sys.exit(asyncio.run(converse(url, thread_id=thread_id, agent_id=agent_id, user_id=user_id, headers=headers)))


if __name__ == "__main__":
    main()
