"""`unbroken serve --reload`: one worker, begun anew whenever the project's files change.

    serving ──a file changes──▶ told to stop, as at any end ──▶ started again ──▶ serving
                                                                   └─ ends before it serves ──▶ waits for a change

The database goes on meanwhile, and what was under way goes on in the next process, as after a deploy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from unbroken.adapters.langgraph.project import NAME, read_project
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.stopping import Stopping
from unbroken.entrypoints.watched import Watched
from unbroken.entrypoints.worker import REPLACED
from unbroken.entrypoints.workers import Seat, Workers, run

NEVER: Final = float("inf")
MOST_NAMED: Final = 3


def run_reloading(
    settings: Settings, options: Mapping[str, Any], stopping: Stopping, environment: Mapping[str, str]
) -> None:
    """As `run_workers`. `environment`: this process's own, without what was read from a file, which may change."""
    if settings.workers > 1:
        raise InvalidValue("reload", "one process is begun anew at a time: leave out --workers")
    watched = Watched(lambda: folders_of(settings))
    run(settings, options, stopping, lambda *given: Reloading(*given, watched=watched, environment=environment))


def folders_of(settings: Settings) -> list[Path]:
    """Where the project's files are; a project that cannot be read now is looked for where it was."""
    config = settings.config or Path()
    file = config / NAME if config.is_dir() else config
    try:
        project = read_project(file)
    except InvalidValue:
        return [file.parent.resolve()]
    local = [one for one in project.entries.dependencies if one.startswith(".")]
    return [project.root, *((project.root / one).resolve() for one in local)]


class Reloading(Workers):
    def __init__(
        self,
        settings: Settings,
        options: Mapping[str, Any],
        url: str | None,
        *,
        watched: Watched,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(settings, options, url)
        self._watched = watched
        self._own_environment = environment
        self._renewing = False

    def environment(self, seat: Seat) -> dict[str, str]:
        told = {} if self.url is None else {"DATABASE_URL": self.url}
        return {**self._own_environment, **told}

    def look(self) -> None:
        changed = self._watched.changes()
        if not changed:
            return
        shown = ", ".join(Path(path).name for path in changed[:MOST_NAMED])
        more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
        click.echo(f"changed: {shown}{more}; starting again …", err=True)
        for seat in self.seats:
            seat.begins_at = 0.0
            if seat.process is not None:
                self._renewing = True
                seat.process.terminate()

    def replace(self, seat: Seat, process: subprocess.Popen[bytes], code: int) -> None:
        if self._renewing and code != REPLACED:
            self._renewing = False
            seat.begins_at = 0.0
        elif seat.serves or code == REPLACED:
            super().replace(seat, process, code)
        else:
            seat.begins_at = NEVER
            click.echo("not serving; waiting for a file to change …", err=True)
