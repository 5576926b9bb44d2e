"""PostgreSQL's own programs (pg_dump, pg_restore, pg_basebackup, psql …), connected to the database we serve from."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from unbroken.adapters.postgres.embedded import AlreadyServed, EmbeddedPostgres
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir
from unbroken.adapters.postgres.embedded_errors import EmbeddedError
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.settings import Settings

QUERY: Final = {"host": "PGHOST", "port": "PGPORT", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}


def run_program(settings: Settings, program: str, arguments: Sequence[str]) -> int:
    """Run it to its end, with our standard streams; its exit code. It finds the database, its user and its password in
    the environment. An embedded server that does not run is started for it, and stopped afterwards.

    Raises InvalidValue if there is no such program or no database, EmbeddedError with one line.
    """
    path = _found(program, settings.database_programs)
    with _url(settings) as url:
        return subprocess.run(
            [path, *arguments], env={**os.environ, **connection_variables(url)}, check=False
        ).returncode


def connection_variables(url: str) -> dict[str, str]:
    """What libpq reads instead of a URL: so that a password stands on no command line."""
    parts = urlsplit(url)
    given = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port) if parts.port else None,
        "PGUSER": unquote(parts.username) if parts.username else None,
        "PGPASSWORD": unquote(parts.password) if parts.password else None,
        "PGDATABASE": unquote(parts.path.lstrip("/")) or None,
    }
    asked = {QUERY[name]: value for name, value in parse_qsl(parts.query) if name in QUERY}
    return {name: value for name, value in given.items() if value} | asked


@contextmanager
def _url(settings: Settings) -> Iterator[str]:
    if settings.in_memory:
        raise InvalidValue("in_memory", "there is no database")
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = EmbeddedPostgres(settings.data_dir, settings.database_programs, port=settings.database_port)
    try:
        url = server.start()
    except AlreadyServed:
        yield server.served_url()  # by another process of ours: it runs, and goes on running
        return
    try:
        yield url
    finally:
        server.stop()


def _found(program: str, folder: Path | None) -> Path:
    if not program.isascii() or not program.replace("_", "").isalnum():
        raise InvalidValue("program", f"{program!r} is no program of PostgreSQL's")
    folders: list[Path] = [folder] if folder else []
    if not folder:
        with suppress(EmbeddedError):  # then those of the system's will do
            folders.append(bundled_bin_dir())
    for place in folders:
        if (place / program).exists():
            return place / program
    if folder is None and (elsewhere := shutil.which(program)):
        return Path(elsewhere)
    raise InvalidValue("program", f"there is no {program} in {', '.join(map(str, folders)) or 'the PATH'}")
