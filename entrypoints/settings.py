"""Everything an operator can set, in one typed place: environment variables `UNBROKEN_*`, and `DATABASE_URL`."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from unbroken.domain.policy import CommitMode
from unbroken.entrypoints.web.codec import Limits

_SCHEMES = re.compile(r"^(postgres|postgresql|postgresql\+asyncpg)$")


class SettingsError(Exception):
    """A setting has a value that it cannot have; one line that names it and says what would do."""


class Settings(BaseSettings):
    """Read once, at start-up. Durations are in seconds (`_s`), sizes in bytes (`_bytes`)."""

    model_config = SettingsConfigDict(env_prefix="UNBROKEN_", env_file=None, extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to serve on; loopback only while `UNBROKEN_AUTH=none`")
    port: int = Field(8000, ge=0, le=65535, description="TCP port of the page and the socket")
    database_url: str | None = Field(
        None,
        validation_alias=AliasChoices("database_url", "DATABASE_URL"),
        description="An external PostgreSQL, 15 to 18; absent: an embedded one in the data directory",
    )
    data_dir: Path = Field(Path(".unbroken"), description="Where the embedded PostgreSQL keeps its data")
    in_memory: bool = Field(False, description="No database at all: everything is forgotten at exit")
    agents: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Agents, comma-separated: `NAME=file.py:variable` or `NAME=module:variable`; the default first",
    )
    model: str | None = Field(
        None,
        description="`provider:model` for the bundled agent, e.g. `openai:gpt-4o-mini`; absent: a scripted demo",
    )
    model_base_url: str | None = Field(None, description="Base URL of an OpenAI-compatible server")
    commit: CommitMode = Field(
        CommitMode.SUPERSTEP, description="When an agent's state is committed inside a turn: `superstep` or `turn`"
    )
    agent_commit: Annotated[dict[str, CommitMode], NoDecode] = Field(
        {}, description="Exceptions from it for single agents, comma-separated: `NAME=turn`"
    )
    auth: Literal["none"] = Field("none", description="Who callers are: `none` believes whoever reaches loopback")

    max_tries: int = Field(5, ge=1, description="Tries at one message, crashes included, before it ends as `poisoned`")
    retry_backoff_s: float = Field(0.5, gt=0, description="Pause before the second try at a message; doubles with each")
    retry_max_backoff_s: float = Field(30.0, gt=0, description="Longest pause between two tries")
    turn_limit_s: float = Field(600.0, gt=0, description="Longest time one attempt at an answer may take")
    concurrent_turns: int = Field(1000, ge=1, description="Turns that run side by side in this process")
    queue_limit: int = Field(100, ge=1, description="Unfinished messages one thread may have")

    lease_ttl_s: float = Field(10.0, gt=0, description="How long a silent replica counts as alive")
    heartbeat_s: float = Field(3.0, gt=0, description="Pause between two renewals of the lease")
    recovery_poll_s: float = Field(
        1.0, gt=0, description="Pause between two looks for unfinished messages nobody works on"
    )
    effect_poll_s: float = Field(1.0, gt=0, description="Pause between two looks for effects to execute")
    effect_claim_s: float = Field(30.0, gt=0, description="How long one try at executing an effect may take")
    timer_poll_s: float = Field(1.0, gt=0, description="Longest pause between two looks for due timers")
    ack_flush_s: float = Field(1.0, gt=0, description="Pause between two writes of delivery marks")
    drain_s: float = Field(5.0, ge=0, description="What running turns get to finish when the server stops")
    reader_stall_s: float = Field(30.0, gt=0, description="A client that takes no byte for so long is closed with 1013")

    max_frame_bytes: int = Field(1 << 20, ge=1024, description="Longest frame a client may send")
    max_content_bytes: int = Field(256 << 10, ge=1, description="Longest message, in bytes of UTF-8")
    frames_per_s: float = Field(50.0, gt=0, description="Frames a client may send a second, on average")

    pool_size: int = Field(10, ge=2, le=1000, description="Connections to the database")
    replica_name: str = Field("", description="Stable name of this process among replicas; absent: `host:port`")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged")
    log_format: Literal["text", "json"] = Field("text", description="How log lines look")

    @field_validator("agents", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("agent_commit", mode="before")
    @classmethod
    def _modes(cls, value: Any) -> Any:
        if isinstance(value, str):
            pairs = (part.partition("=") for part in value.split(",") if part.strip())
            return {name.strip(): mode.strip() for name, _, mode in pairs}
        return value

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if not _SCHEMES.match(parts.scheme):
            raise ValueError("must begin with postgresql://, e.g. postgresql://user:password@host:5432/name")
        return "postgresql" + value[len(parts.scheme) :]

    @property
    def frame_limits(self) -> Limits:
        return Limits(frame=self.max_frame_bytes, content=self.max_content_bytes)

    @property
    def replica(self) -> str:
        """This process's stable name among the replicas of one database."""
        return self.replica_name or f"{socket.gethostname()}:{self.port}"


def read_settings(**given: Any) -> Settings:
    """The settings from the environment, those in `given` (None: not given) first. Raises SettingsError."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        variable = name.upper() if name.lower() == "database_url" else f"UNBROKEN_{name.upper()}"
        raise SettingsError(f"{variable}: {first['msg'].removeprefix('Value error, ')}") from None


def settings_table() -> str:
    """The settings as a Markdown table: variable, default, meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        variable = "DATABASE_URL" if name == "database_url" else f"UNBROKEN_{name.upper()}"
        default = field.default.value if isinstance(field.default, CommitMode) else field.default
        shown = "" if default in (None, "", (), {}) else f"`{default}`"
        lines.append(f"| `{variable}` | {shown} | {field.description} |")
    return "\n".join(lines)
