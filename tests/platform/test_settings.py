"""Laws of the settings: working defaults, one line for each value that cannot be, documents that agree."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from unbroken.domain.policy import CommitMode
from unbroken.entrypoints.cli import cli
from unbroken.entrypoints.settings import Settings, SettingsError, read_settings, variable_of
from unbroken.entrypoints.settings_documents import env_example, settings_table, with_table

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An environment of the test's own, and a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ):
        yield


def test_nothing_needs_to_be_set() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8000, Path(".unbroken"))
    assert settings.database_url is None
    assert settings.commit is CommitMode.SUPERSTEP
    assert (settings.recovery_poll_s, settings.effect_poll_s, settings.workers) == (0.4, 1, 1)
    assert settings.reader_stall_s == 30


def test_given_beats_environment_beats_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("UNBROKEN_PORT=1\nUNBROKEN_POOL_SIZE=3\nUNBROKEN_QUEUE_LIMIT=4\n")
    monkeypatch.setenv("UNBROKEN_POOL_SIZE", "5")
    monkeypatch.setenv("UNBROKEN_QUEUE_LIMIT", "6")
    settings = read_settings(queue_limit=7, port=None)
    assert (settings.port, settings.pool_size, settings.queue_limit) == (1, 5, 7)


def test_env_file_joins_the_environment_for_the_providers_keys() -> None:
    Path(".env").write_text("SOME_PROVIDERS_KEY=abc\n")
    read_settings()
    assert os.environ["SOME_PROVIDERS_KEY"] == "abc"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(variable_of(name), "")
    assert read_settings() == Settings()


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNBROKEN_AGENTS", "a=one.py:graph, b=package.module:make ,")
    monkeypatch.setenv("UNBROKEN_AGENT_COMMIT", "a=turn, b=superstep")
    settings = read_settings()
    assert settings.agents == ("a=one.py:graph", "b=package.module:make")
    assert settings.agent_commit == {"a": CommitMode.TURN, "b": CommitMode.SUPERSTEP}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_usual_scheme_becomes_the_drivers(scheme: str) -> None:
    settings = read_settings(database_url=f"{scheme}://me:secret@db.example:5433/chat?sslmode=require")
    assert settings.database_url == "postgresql://me:secret@db.example:5433/chat?sslmode=require"


def test_an_address_by_socket_is_kept() -> None:
    url = "postgresql://me:secret@/chat?host=/run/postgresql&port=5433"
    assert read_settings(database_url=url).database_url == url


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "mysql://me:secret@host/name",
        "postgresql:me:secret@host",
        "postgresql://me:secret@host:port/name",
        "postgresql://me:secret@host:99999/name",
        "postgresql://me:secret@[host/name",
    ],
)
def test_a_bad_database_url_is_one_line_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError, match=r"\ADATABASE_URL: .*postgresql://.*\Z") as refused:
        read_settings()
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("UNBROKEN_PORT", "eighty"),
        ("UNBROKEN_PORT", "65536"),
        ("UNBROKEN_POOL_SIZE", "1"),
        ("UNBROKEN_COMMIT", "sometimes"),
        ("UNBROKEN_AGENT_COMMIT", "a"),
        ("UNBROKEN_AUTH", "trust"),
        ("UNBROKEN_AGENTS", "graph.py"),
        ("UNBROKEN_AGENTS", "a=graph.py"),
        ("UNBROKEN_AGENTS", "a=one.py:graph,a=two.py:graph"),
        ("UNBROKEN_TURN_LIMIT_S", "0"),
        ("UNBROKEN_TURN_LIMIT_S", "nan"),
        ("UNBROKEN_LEASE_TTL_S", "inf"),
        ("UNBROKEN_HEARTBEAT_S", "6"),
        ("UNBROKEN_RETRY_BACKOFF_S", "31"),
        ("UNBROKEN_MAX_CONTENT_BYTES", "1048576"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"\A{variable}: .+\Z"):
        read_settings()


def test_every_wrong_value_gets_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNBROKEN_PORT", "eighty")
    monkeypatch.setenv("UNBROKEN_POOL_SIZE", "none")
    with pytest.raises(SettingsError) as refused:
        read_settings()
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == ["UNBROKEN_PORT", "UNBROKEN_POOL_SIZE"]


def test_a_misspelt_variable_is_not_silently_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNBROKEN_PROT", "9000")
    with pytest.raises(
        SettingsError, match=r"\AUNBROKEN_PROT: there is no such setting; did you mean UNBROKEN_PORT\?\Z"
    ):
        read_settings()


def test_processes_on_ports_chosen_by_the_system_do_not_share_a_replicas_name() -> None:
    assert Settings(port=8000).replica.endswith(":8000")
    assert Settings(port=0).replica.endswith(f":pid-{os.getpid()}")
    assert Settings(port=0, replica_name="blue").replica == "blue"


def test_command_line_options_are_settings() -> None:
    options = {parameter.name for command in ("serve", "migrate") for parameter in cli.commands[command].params}
    assert options <= {*Settings.model_fields, "help", "reloads"}, "how one develops is no setting of a server"
    assert CliRunner().invoke(cli, ["serve", "--help"]).exit_code == 0


def test_documents_agree_with_the_settings() -> None:
    """`python -m unbroken.entrypoints.settings_documents` brings them up to date."""
    readme = (ROOT / "README.md").read_text()
    assert with_table(readme) == readme
    assert (ROOT / ".env.example").read_text() == env_example()
    for name in Settings.model_fields:
        assert variable_of(name) in settings_table()


def test_env_example_changes_nothing_when_uncommented(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(re.sub(r"(?m)^#(\w+=)", r"\1", env_example()))
    assert read_settings() == Settings()


def test_every_package_with_code_is_in_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    layers = ("domain", "application", "adapters", "entrypoints", "migrations")
    found = {file.parent.relative_to(ROOT) for layer in layers for file in (ROOT / layer).rglob("__init__.py")}
    assert listed == {"unbroken." + ".".join(folder.parts) for folder in found}
