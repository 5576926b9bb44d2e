"""The projects: where they come from, and what they are given by environment alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.end_to_end.server import Server

FOLDER: Final = os.environ.get("UNBROKEN_TEST_EXAMPLES", "")
"""Holds a checkout of each, under its repository's name, and `venv`, where Unbroken and what they need is installed."""


class Example(Struct, frozen=True):
    repository: str
    commit: str
    environment: dict[str, str] = {}
    """Besides the provider's address and keys."""

    @property
    def folder(self) -> Path:
        return Path(FOLDER) / self.repository.partition("/")[2]

    def state(self) -> tuple[str, str]:
        """The commit that is checked out, and what differs from it."""

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(self.folder), *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        return git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")


REACT: Final = Example("langchain-ai/react-agent", "d89d249c2a768e8b166c7c4e3bfeff2c73acb00f")
MEMORY: Final = Example(
    "langchain-ai/memory-agent", "09bf577731b4d5a35157cf4e18aa5af3c7a5095d", {"MODEL": "openai/gpt-4o-mini"}
)
EMAIL: Final = Example("langchain-ai/agents-from-scratch", "edf2c479191d89bf96e6dceb6ee952a618979fc6")
ALL: Final = (REACT, MEMORY, EMAIL)


def serving(example: Example, directory: Path, *, database_url: str, provider_port: int) -> Server:
    """A server of the project, not started yet."""
    provider = f"http://127.0.0.1:{provider_port}"
    environment = {
        "ANTHROPIC_BASE_URL": provider,
        "ANTHROPIC_API_KEY": "none",
        "OPENAI_BASE_URL": f"{provider}/v1",
        "OPENAI_API_KEY": "none",
        "TAVILY_API_KEY": "none",
        "LANGSMITH_TRACING": "false",
        **example.environment,
        **{name: os.environ[name] for name in ("TIKTOKEN_CACHE_DIR",) if name in os.environ},
    }
    return Server(
        directory,
        database_url=database_url,
        environment=environment,
        program=Path(FOLDER) / "venv" / "bin" / "unbroken",
        folder=example.folder,
        agents={},
    )
