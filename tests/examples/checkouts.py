"""The projects: where they come from, and what they are given by environment alone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.end_to_end.server import Server

ROOT: Final = Path(__file__).parents[2]
VARIABLE: Final = "UNBROKEN_TEST_EXAMPLES"
"""Names the folder that holds a checkout of each, under its repository's name, `venv`, where this tree and what they
need is installed, and `tiktoken`, with a copy of the encoding that memory-agent's embeddings count with."""
ENCODING: Final = "tiktoken/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""`cl100k_base` under the name by which its library looks for it."""
HOW: Final = "docs/examples.md says how to make the folder."


class Example(Struct, frozen=True):
    repository: str
    commit: str
    environment: dict[str, str] = {}
    """Besides the provider's address and keys."""

    @property
    def name(self) -> str:
        return self.repository.partition("/")[2]

    def state(self, folder: Path) -> tuple[str, str]:
        """The commit that is checked out in `folder`, and what differs from it."""

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(folder / self.name), *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        return git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")


REACT: Final = Example("langchain-ai/react-agent", "d89d249c2a768e8b166c7c4e3bfeff2c73acb00f")
MEMORY: Final = Example(
    "langchain-ai/memory-agent", "09bf577731b4d5a35157cf4e18aa5af3c7a5095d", {"MODEL": "openai/gpt-4o-mini"}
)
EMAIL: Final = Example("langchain-ai/agents-from-scratch", "edf2c479191d89bf96e6dceb6ee952a618979fc6")
ALL: Final = (REACT, MEMORY, EMAIL)


def missing(folder: Path) -> list[str]:
    """A sentence for each thing that the checks need and `folder` does not hold; none: they can begin."""
    if not folder.is_dir():
        return [f"{folder} is no folder."]
    found = [
        f"{folder / example.name} is missing: a checkout of {example.repository} at {example.commit}."
        for example in ALL
        if not (folder / example.name / "langgraph.json").is_file()
    ]
    found += [
        f"{folder / name} is missing." for name in (ENCODING, "venv/bin/unbroken") if not (folder / name).is_file()
    ]
    return found or _another_tree(folder)


def _another_tree(folder: Path) -> list[str]:
    """An editable installation of long ago would be checked in this one's place."""
    python = folder / "venv" / "bin" / "python"
    asked = "import unbroken.domain; print(*unbroken.domain.__path__, sep='')"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, cwd=folder)
    said = done.stdout.strip() or (done.stderr.strip().splitlines() or ["nothing"])[-1]
    if Path(said) == ROOT / "domain":
        return []
    return [f"{folder / 'venv'} does not have this tree: {said}. {python} -m pip install -e {ROOT} puts it there."]


def serving(example: Example, directory: Path, *, folder: Path, database_url: str, provider_port: int) -> Server:
    """A server of the project in `folder`, not started yet."""
    provider = f"http://127.0.0.1:{provider_port}"
    environment = {
        "ANTHROPIC_BASE_URL": provider,
        "ANTHROPIC_API_KEY": "none",
        "OPENAI_BASE_URL": f"{provider}/v1",
        "OPENAI_API_KEY": "none",
        "TAVILY_API_KEY": "none",
        "LANGSMITH_TRACING": "false",
        **example.environment,
        "TIKTOKEN_CACHE_DIR": str((folder / ENCODING).parent),
    }
    return Server(
        directory,
        database_url=database_url,
        environment=environment,
        program=folder / "venv" / "bin" / "unbroken",
        folder=folder / example.name,
        agents={},
    )
