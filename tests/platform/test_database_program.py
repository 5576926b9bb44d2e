"""Running PostgreSQL's programs on our database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.database_program import connection_variables, run_program
from unbroken.entrypoints.settings import Settings


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        (
            "postgresql://ann:p%40ss@db.example:5433/chat?sslmode=require",
            {
                "PGHOST": "db.example",
                "PGPORT": "5433",
                "PGUSER": "ann",
                "PGPASSWORD": "p@ss",
                "PGDATABASE": "chat",
                "PGSSLMODE": "require",
            },
        ),
        (
            "postgresql://unbroken:x@/unbroken?host=/var/lib/a%20b&port=41",
            {
                "PGHOST": "/var/lib/a b",
                "PGPORT": "41",
                "PGUSER": "unbroken",
                "PGPASSWORD": "x",
                "PGDATABASE": "unbroken",
            },
        ),
    ],
)
def test_every_part_of_a_url_reaches_the_program(url: str, variables: dict[str, str]) -> None:
    assert connection_variables(url) == variables


def test_a_program_s_exit_code_is_ours_and_its_password_on_no_command_line(database_url: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"database_url": database_url})
    shown = tmp_path / "shown"
    assert run_program(settings, "psql", ["-At", "-c", "SELECT current_database()", "-o", str(shown)]) == 0
    assert shown.read_text().strip() == database_url.partition("?")[0].rpartition("/")[2]
    assert run_program(settings, "psql", ["-v", "ON_ERROR_STOP=1", "-q", "-c", "SELECT nothing", "-L", os.devnull]) == 1


@pytest.mark.parametrize("program", ["../../bin/sh", "rm -rf", "pg_nothing", ""])
def test_only_programs_of_postgresql_are_run(program: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path / "data", "database_programs": tmp_path})
    with pytest.raises(InvalidValue, match="program"):
        run_program(settings, program, [])
    assert not (tmp_path / "data").exists()


def test_in_memory_there_is_nothing_to_run_it_on() -> None:
    with pytest.raises(InvalidValue, match="no database"):
        run_program(Settings.model_validate({"in_memory": True}), "psql", [])
