"""Everything an operator can set, in one typed place: environment variables `UNBROKEN_*`, and `DATABASE_URL`."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from unbroken.domain.events import WhenBusy
from unbroken.domain.policy import CommitMode
from unbroken.entrypoints.web.codec import Limits

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
EXAMPLE_URL = "postgresql://user:password@host:5432/name"
EXAMPLE_BUS = "nats://user:password@host:4222"


class SettingsError(Exception):
    """Settings that cannot be; one line each, that names the variable and says what would do."""


class Settings(BaseSettings):
    """Read once, at start-up. Durations are in seconds (`_s`), sizes in bytes (`_bytes`)."""

    model_config = SettingsConfigDict(
        env_prefix="UNBROKEN_", env_file=None, env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    host: str = Field(default="127.0.0.1", description="Address to serve on; loopback only while `UNBROKEN_AUTH=none`")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port of the page and the socket")
    workers: int = Field(
        default=1, ge=1, le=256, description="Processes that serve this port, each a replica of its own; not in memory"
    )
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("database_url", "DATABASE_URL"),
        description="An external PostgreSQL, 15 to 18; absent: an embedded one in the data directory",
    )
    bus_url: str | None = Field(
        default=None,
        description="What carries hints between replicas: `nats://` or `tls://` a broker, `postgresql://` the database"
        " without a pooler, `none`; absent: the database",
    )
    data_dir: Path = Field(default=Path(".unbroken"), description="Where the embedded PostgreSQL keeps its data")
    database_port: int | None = Field(
        default=None, ge=1, le=65535, description="TCP port of the embedded PostgreSQL on 127.0.0.1; absent: a free one"
    )
    database_programs: Path | None = Field(
        default=None, description="Folder of PostgreSQL's programs to run as the embedded one; absent: the wheel's"
    )
    in_memory: bool = Field(default=False, description="No database at all: everything is forgotten at exit")
    agents: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Agents, comma-separated: `NAME=file.py:variable` or `NAME=module:variable`; the default first",
    )
    config: Path | None = Field(
        default=None,
        description="A LangGraph project to serve: its `langgraph.json`; absent: the one of the working folder, if no"
        " agents are named",
    )
    model: str | None = Field(
        default=None,
        description="`provider:model` for the bundled agent, e.g. `openai:gpt-4o-mini`; absent: a scripted demo",
    )
    model_base_url: str | None = Field(default=None, description="Base URL of an OpenAI-compatible server")
    commit: CommitMode = Field(
        default=CommitMode.SUPERSTEP,
        description="When an agent's state is committed inside a turn: `superstep` or `turn`",
    )
    agent_commit: Annotated[dict[str, CommitMode], NoDecode] = Field(
        default={}, description="Exceptions from it for single agents, comma-separated: `NAME=turn`"
    )
    when_busy: WhenBusy = Field(
        default=WhenBusy.ENQUEUE,
        description="A message while an earlier one is unfinished: `enqueue`, `reject`, `interrupt`, `rollback`",
    )
    agent_when_busy: Annotated[dict[str, WhenBusy], NoDecode] = Field(
        default={}, description="Exceptions from it for single agents, comma-separated: `NAME=interrupt`"
    )
    auth: Literal["none", "jwt", "proxy"] = Field(
        default="none",
        description="Who callers are: `none` believes whoever reaches loopback, `jwt` a signed token, `proxy` a header",
    )
    jwt_key: SecretStr | None = Field(
        default=None, description="Key of tokens: a public key in PEM, or a shared secret of at least 32 bytes"
    )
    jwt_key_file: Path | None = Field(default=None, description="The same from a file")
    jwt_jwks_file: Path | None = Field(
        default=None, description="A JSON Web Key Set instead; read again whenever it changes"
    )
    jwt_issuer: str | None = Field(default=None, description="`iss` that tokens must have; absent: any")
    jwt_audience: str | None = Field(default=None, description="`aud` that tokens must have; absent: any")
    jwt_user_claim: str = Field(default="sub", min_length=1, description="Claim that holds the user's id")
    jwt_cookie: str | None = Field(
        default=None, description="Name of a cookie that may hold the token; absent: no cookie counts"
    )
    proxy_user_header: str = Field(
        default="X-Forwarded-User", min_length=1, description="Header in which a trusted proxy names the user"
    )
    proxy_trusted: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Addresses of the proxies that are believed, comma-separated: `10.0.0.0/8,::1`"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names by which this server may be called, without port; absent: any, or loopback's for `none`",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Sites, besides our own page, whose pages may connect: `https://app.example.com`"
    )
    user_sockets: int = Field(
        default=50, ge=1, description="Sockets one user may have open; this and the next two not for `none`"
    )
    user_messages_per_min: float = Field(default=120, gt=0, description="Messages one user may send a minute")
    user_threads: int = Field(default=10_000, ge=1, description="Threads one user may have")

    max_tries: int = Field(
        default=5, ge=1, description="Tries at one message, crashes included, before it ends as `poisoned`"
    )
    retry_backoff_s: float = Field(
        default=0.5, gt=0, description="Pause before the second try at a message; doubles with each"
    )
    retry_max_backoff_s: float = Field(default=30.0, gt=0, description="Longest pause between two tries")
    turn_limit_s: float = Field(default=600.0, gt=0, description="Longest time one attempt at an answer may take")
    concurrent_turns: int = Field(default=1000, ge=1, description="Turns that run side by side in this process")
    queue_limit: int = Field(default=100, ge=1, description="Unfinished messages one thread may have")

    lease_ttl_s: float = Field(default=10.0, gt=0, description="How long a silent replica counts as alive")
    heartbeat_s: float = Field(default=3.0, gt=0, description="Pause between two renewals of the lease")
    recovery_poll_s: float = Field(
        default=0.4,
        gt=0,
        description="Pause between two looks for unfinished messages nobody works on; a takeover may need two",
    )
    effect_poll_s: float = Field(default=1.0, gt=0, description="Pause between two looks for effects to execute")
    effect_claim_s: float = Field(default=30.0, gt=0, description="How long one try at executing an effect may take")
    cancel_poll_s: float = Field(
        default=0.25, gt=0, description="Pause between two looks for cancels from elsewhere, while turns run"
    )
    timer_poll_s: float = Field(default=1.0, gt=0, description="Longest pause between two looks for due timers")
    ack_flush_s: float = Field(default=1.0, gt=0, description="Pause between two writes of delivery marks")
    drain_s: float = Field(default=5.0, ge=0, description="What running turns get to finish when the server stops")
    stop_limit_s: float = Field(
        default=15.0, gt=0, description="Longest stop, draining included; then the process ends hard, with exit code 4"
    )
    abandoned_limit: int = Field(
        default=10, ge=0, description="Stopped attempts that may still run before `/health/ready` says no"
    )
    reader_stall_s: float = Field(
        default=30.0, gt=0, description="A client that takes no byte for so long is closed with 1013"
    )
    ask_again_s: float = Field(
        default=60.0, gt=0, description="How often a project's `auth.path` is asked if an open connection may go on"
    )

    max_frame_bytes: int = Field(default=1 << 20, ge=1024, description="Longest frame a client may send")
    max_content_bytes: int = Field(default=256 << 10, ge=1, description="Longest message, in bytes of UTF-8")
    max_file_bytes: int = Field(default=10 << 20, ge=1, le=256 << 20, description="Largest file that may be attached")
    max_thread_files: int = Field(default=100, ge=0, description="Files that one thread may hold")
    frames_per_s: float = Field(default=50.0, gt=0, description="Frames a client may send a second, on average")

    retention_days: float | None = Field(
        default=None, gt=0, description="Threads silent for so many days are deleted; absent: none ever is"
    )
    keep_branches: int = Field(
        default=20, ge=0, description="Latest messages of a thread that can still be edited or asked again"
    )
    history: Literal["latest", "all"] | None = Field(
        default=None,
        description="Which checkpoints are kept: `latest` (those that something goes on from) or `all`; "
        "absent: `all` for a project of LangGraph's, `latest` otherwise",
    )

    head_cache_bytes: int = Field(
        default=64 << 20, ge=0, description="Memory for the latest states of sessions, which then need not be read back"
    )
    pool_size: int = Field(default=10, ge=2, le=1000, description="Connections to the database, of each process")
    replica_name: str = Field(
        default="", description="Stable name among replicas; absent: `host:port`; workers add `:number`"
    )
    trace_url: str | None = Field(
        default=None,
        description="Where one trace is looked at: a URL with `{trace_id}` in it; absent: no links to traces",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="How much is logged")
    log_format: Literal["text", "json"] = Field(default="text", description="How log lines look")

    @field_validator("agents", "proxy_trusted", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _listed(value) if isinstance(value, str) else value

    @field_validator("agents")
    @classmethod
    def _agents_are_named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [spec.partition("=")[0].strip() for spec in value]
        for spec in value:
            if not re.fullmatch(r"[^=:]+=.+:.+", spec):
                raise ValueError(f"the agent {spec!r} must be NAME=file.py:variable or NAME=module:variable")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two agents are named {name!r}")
        return value

    @field_validator("agent_commit", "agent_when_busy", mode="before")
    @classmethod
    def _by_agent(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in _listed(value)]
        return {name.strip(): mode.strip() for name, _, mode in pairs}

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str | None) -> str | None:
        """What the driver takes. The message never repeats the value, which may hold a password."""
        if not value:
            return None
        try:
            parts = urlsplit(value)
            port_is_one = parts.port != 0
        except ValueError:
            raise ValueError(f"is not a URL; expected {EXAMPLE_URL}") from None
        if parts.scheme not in SCHEMES or not value.startswith(f"{parts.scheme}://"):
            raise ValueError(f"must begin with postgresql://, e.g. {EXAMPLE_URL}")
        if not port_is_one:
            raise ValueError(f"has a port that cannot be; expected {EXAMPLE_URL}")
        return "postgresql" + value[len(parts.scheme) :]

    @field_validator("bus_url")
    @classmethod
    def _bus(cls, value: str | None) -> str | None:
        """As `database_url`: the message never repeats the value."""
        if not value or value == "none":
            return value or None
        if value.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            return cls._postgres(value)
        for part in value.split(","):
            try:
                parts = urlsplit(part.strip())
                fits = parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(
                    f"must be nats://, tls:// or postgresql:// and an address, or none, e.g. {EXAMPLE_BUS}"
                )
        return value

    @field_validator("trace_url")
    @classmethod
    def _trace_url_names_the_trace(cls, value: str | None) -> str | None:
        if value and (not re.match(r"https?://\S+$", value) or "{trace_id}" not in value):
            raise ValueError("must be like https://traces.example.com/trace/{trace_id}")
        return value or None

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_sites(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/\s@]+/?", origin):
                raise ValueError(f"{origin!r} must be like https://app.example.com, without a path")
        return value

    @model_validator(mode="after")
    def _callers_can_be_known(self) -> Self:
        keys = [self.jwt_key, self.jwt_key_file, self.jwt_jwks_file]
        if self.auth == "jwt" and sum(key is not None for key in keys) != 1:
            raise ValueError("UNBROKEN_AUTH: `jwt` needs one of UNBROKEN_JWT_KEY, _JWT_KEY_FILE and _JWT_JWKS_FILE")
        if self.auth == "proxy" and not self.proxy_trusted:
            raise ValueError("UNBROKEN_PROXY_TRUSTED: name the proxy's address, or anybody could be anyone")
        return self

    @model_validator(mode="after")
    def _workers_share_a_database(self) -> Self:
        if self.workers > 1 and self.in_memory:
            raise ValueError(
                "UNBROKEN_WORKERS: what one process holds in memory no other one sees; "
                "set UNBROKEN_WORKERS=1, or leave out UNBROKEN_IN_MEMORY"
            )
        return self

    @model_validator(mode="after")
    def _sizes_and_times_fit(self) -> Self:
        if 2 * self.heartbeat_s > self.lease_ttl_s:
            raise ValueError(
                "UNBROKEN_HEARTBEAT_S: one late renewal would lose the lease; at most half UNBROKEN_LEASE_TTL_S"
            )
        if self.retry_backoff_s > self.retry_max_backoff_s:
            raise ValueError("UNBROKEN_RETRY_BACKOFF_S: cannot be more than UNBROKEN_RETRY_MAX_BACKOFF_S")
        if self.stop_limit_s <= self.drain_s:
            raise ValueError("UNBROKEN_STOP_LIMIT_S: must leave time beyond UNBROKEN_DRAIN_S")
        if self.max_content_bytes >= self.max_frame_bytes:
            raise ValueError("UNBROKEN_MAX_CONTENT_BYTES: must leave room in a frame of UNBROKEN_MAX_FRAME_BYTES")
        return self

    def busy_policy(self, agent_id: str) -> WhenBusy:
        return self.agent_when_busy.get(agent_id, self.when_busy)

    @property
    def frame_limits(self) -> Limits:
        return Limits(frame=self.max_frame_bytes, content=self.max_content_bytes)

    @property
    def replica(self) -> str:
        """This process's stable name among the replicas of one database. On a port that the system chooses it
        cannot be stable, and must not be another such process's name: that would end it."""
        return self.replica_name or f"{socket.gethostname()}:{self.port or f'pid-{os.getpid()}'}"


def read_settings(**given: Any) -> Settings:
    """The settings: those in `given` (None: not given), else the environment's, else those of the file `.env` here.

    What `.env` says joins the environment, because model providers read their keys from there.
    Raises SettingsError: a value that cannot be, or a variable `UNBROKEN_…` that means nothing.
    """
    for name, value in dotenv_values(".env").items():
        if value is not None:
            os.environ.setdefault(name, value)
    _refuse_unknown(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("\n".join(_line(part["loc"], part["msg"]) for part in error.errors())) from None


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return "DATABASE_URL" if name.lower() == "database_url" else f"UNBROKEN_{name.upper()}"


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """A misspelt variable would otherwise be a setting that silently is not set."""
    known = [variable_of(name) for name in Settings.model_fields]
    for name in environment:
        if name.startswith("UNBROKEN_") and not name.startswith("UNBROKEN_TEST_") and name not in known:
            near = get_close_matches(name, known, 1)
            raise SettingsError(f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))


def _line(place: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{variable_of(str(place[0]))}: {message}" if place else message


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
