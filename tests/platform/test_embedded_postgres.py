"""Laws of the embedded server, on both PostgreSQL versions: it is started once, found again, and never mistaken."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.conftest import bin_dir_of
from unbroken.adapters.postgres import embedded
from unbroken.adapters.postgres.embedded import AlreadyServed, EmbeddedError, EmbeddedPostgres
from unbroken.adapters.postgres.embedded_account import POINTER
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir
from unbroken.adapters.postgres.embedded_cluster import Cluster
from unbroken.adapters.postgres.embedded_watch import kept_running

Make = Callable[..., EmbeddedPostgres]

STARTER = """
import sys, time
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1], sys.argv[2] or None)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(params=[18, 15])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def place(open_folder: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="place-", dir=open_folder))
    folder.chmod(0o755)
    yield folder
    for pointer in folder.rglob(POINTER):
        shutil.rmtree(pointer.read_text().strip(), ignore_errors=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def made_before(open_folder: Path) -> Callable[[int], Path]:
    """A stopped data directory of a version, to be copied: creating one takes longer than all the rest of a test."""

    @cache
    def made(version: int) -> Path:
        folder = open_folder / f"made-before-{version}"
        with EmbeddedPostgres(folder, bin_dir_of(version)):
            pass
        return folder

    return made


@pytest.fixture
def make(version: int, place: Path, made_before: Callable[[int], Path]) -> Iterator[Make]:
    """Makes servers, in `place`/data unless told otherwise, stops them at the end. `fresh`: nothing is there yet."""
    made: list[EmbeddedPostgres] = []

    def one(data_dir: Path | None = None, *, fresh: bool = False, **options: object) -> EmbeddedPostgres:
        folder = data_dir or place / "data"
        if not fresh and not folder.exists():
            subprocess.run(["cp", "-a", made_before(version), folder], check=True)
        server = EmbeddedPostgres(folder, options.pop("bin_dir", bin_dir_of(version)), **options)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield one
    for server in made:
        server.stop(immediate=True)


def ask(url: str, sql: str) -> object:
    async def asking() -> object:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(asking())


def remember(server: EmbeddedPostgres) -> None:
    ask(server.url, "CREATE TABLE remembered AS SELECT 1 AS n")


def remembers(server: EmbeddedPostgres) -> bool:
    return ask(server.url, "SELECT n FROM remembered") == 1


def running(pid: int) -> bool:
    """A zombie does not run: in a container nobody may be there to reap it."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def ended(pid: int) -> bool:
    """The server removes its pid file a moment before its process is gone."""
    deadline = time.monotonic() + 5
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not running(pid)


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)


def test_start_serves_the_version_asked_for_and_stop_ends_it(make: Make, version: int) -> None:
    server = make(fresh=True)
    url = server.start()
    pid = server.pid
    assert pid is not None
    assert str(ask(url, "SHOW server_version")).startswith(f"{version}.")
    server.stop()
    assert ended(pid)
    server.stop()


def test_data_survives_stop_and_start_at_the_same_address(make: Make) -> None:
    server = make()
    first = server.start()
    remember(server)
    server.stop()
    assert server.start() == first
    assert remembers(server)


def test_durability_is_on(make: Make) -> None:
    url = make().start()
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert ask(url, f"SHOW {setting}") == "on", setting


def test_both_addresses_need_the_password_and_only_the_owner_reads_it(make: Make, place: Path) -> None:
    server = make()
    server.start()
    for url in (server.url, server.tcp_url):
        assert ask(url, "SELECT 1") == 1
        password = url.split(":")[2].partition("@")[0]
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(url.replace(password, "wrong"), "SELECT 1")
    (file,) = place.rglob("unbroken-password")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_server_never_runs_as_root(make: Make) -> None:
    server = make()
    server.start()
    assert server.pid is not None
    assert psutil.Process(server.pid).uids().real != 0


def test_server_outlives_a_killed_starter_and_is_adopted(make: Make, place: Path, version: int) -> None:
    with Starter(place / "data", version) as (starter, pid):
        starter.kill()
        starter.wait(10)
    assert running(pid)
    server = make()
    server.start()
    assert server.pid == pid
    server.stop()
    assert ended(pid)


def test_second_starter_is_refused_by_name_and_the_first_goes_on(make: Make, place: Path, version: int) -> None:
    with Starter(place / "data", version) as (starter, pid):
        with pytest.raises(AlreadyServed, match=rf"is already served by pid {starter.pid} on port \d+$") as refused:
            make().start()
        assert refused.value.pid == starter.pid
        assert running(pid)


def test_a_failed_start_does_not_keep_the_directory(make: Make, place: Path) -> None:
    with pytest.raises(EmbeddedError, match="holds no PostgreSQL"):
        make(bin_dir=place).start()
    make().start()


def test_an_interrupted_start_leaves_no_server_behind(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int | None] = []

    def interrupted(cluster: Cluster) -> None:
        started.append(cluster.postmaster())
        raise KeyboardInterrupt

    server = make()
    monkeypatch.setattr(embedded, "_ensure_database", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    (pid,) = started
    assert pid is not None
    assert ended(pid)
    monkeypatch.undo()
    server.start()


def test_stale_pid_file_of_a_killed_server_is_not_believed(make: Make) -> None:
    server = make()
    server.start()
    remember(server)
    pid = server.pid
    assert pid is not None
    killed(pid)
    assert server.pid != pid
    server.stop()
    server.start()
    assert remembers(server)


def test_reused_pid_is_neither_believed_nor_harmed(make: Make, place: Path) -> None:
    server = make()
    server.start()
    remember(server)
    assert server.pid is not None
    pid_file = place / "data" / "postgres" / "postmaster.pid"
    _, _, rest = pid_file.read_text().partition("\n")
    killed(server.pid)
    server.stop()
    owner = pid_file.stat().st_uid
    stranger = subprocess.Popen(["sleep", "300"], user=owner if os.geteuid() == 0 else None)
    try:
        pid_file.write_text(f"{stranger.pid}\n{rest}")
        server.start()
        assert remembers(server)
        assert server.pid != stranger.pid
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(10)


def test_copy_of_a_served_directory_does_not_take_over_the_original(make: Make, place: Path) -> None:
    original = make()
    original.start()
    remember(original)
    subprocess.run(["cp", "-a", place / "data", place / "copy"], check=True)
    copy = make(place / "copy")
    copy.start()
    assert copy.pid != original.pid
    copy.stop()
    assert remembers(original)


@pytest.mark.parametrize("immediate", [False, True])
def test_restart_keeps_address_and_committed_data(make: Make, immediate: bool) -> None:
    server = make()
    url = server.start()
    remember(server)
    before = server.pid
    server.restart(immediate=immediate)
    assert server.url == url
    assert server.pid not in (None, before)
    assert remembers(server)


def test_a_server_that_ends_by_itself_is_started_again_at_its_address_until_it_is_stopped(make: Make) -> None:
    server = make()
    url = server.start()
    remember(server)
    with kept_running(server):
        for _ in range(2):
            pid = server.pid
            assert pid is not None
            killed(pid)
            deadline = time.monotonic() + 30
            while server.pid in (None, pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert server.pid not in (None, pid)
    assert server.url == url
    assert server.revive() is False
    assert remembers(server)
    pid = server.pid
    assert pid is not None
    server.stop()
    assert ended(pid)


def test_free_port_changes_when_it_is_taken_and_a_fixed_one_is_refused(make: Make) -> None:
    server = make()
    server.start()
    port = server.port
    server.stop()
    with closing(socket.create_server(("127.0.0.1", port))):
        server.start()
        assert server.port != port
        server.stop()
        with pytest.raises(EmbeddedError, match=f"^port {port} of 127.0.0.1 is taken"):
            make(port=port).start()
    fixed = make(port=port)
    fixed.start()
    assert ask(fixed.tcp_url, "SHOW port") == str(port)


@pytest.mark.parametrize("name", ["n" * 200, """it's $HOME, "ü" `id` %20 @:?&#"""], ids=["long", "odd characters"])
def test_any_path_will_do(make: Make, place: Path, name: str) -> None:
    server = make(place / name)
    server.start()
    remember(server)
    server.restart()
    assert remembers(server)
    sockets = Path(str(ask(server.url, "SHOW unix_socket_directories")))
    assert sockets.exists()
    server.stop()
    assert not sockets.exists()


def test_closed_parent_stays_closed_and_its_data_is_found_again(make: Make, place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(0o700)
    server = make(closed / ".unbroken", fresh=True)
    server.start()
    remember(server)
    server.stop()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    again = make(closed / ".unbroken", fresh=True)
    again.start()
    assert remembers(again)


def test_database_that_has_moved_away_is_not_silently_replaced(make: Make, place: Path) -> None:
    data = place / "data"
    data.mkdir()
    (data / POINTER).write_text(f"{place}/gone\n")
    with pytest.raises(EmbeddedError, match=rf"names {place}/gone, which is gone"):
        make().start()


def test_leftovers_of_a_killed_creation_do_not_matter(make: Make, place: Path) -> None:
    (place / "data" / "postgres-new-killed" / "cluster").mkdir(parents=True)
    make().start()
    assert [entry.name for entry in (place / "data").iterdir() if "new" in entry.name] == []


def test_a_file_in_the_way_is_one_line(make: Make, place: Path) -> None:
    (place / "data").write_text("")
    with pytest.raises(EmbeddedError, match=r"^cannot keep a database in .*: Not a directory"):
        make().start()


def test_data_of_another_major_version_is_left_alone(place: Path, made_before: Callable[[int], Path]) -> None:
    subprocess.run(["cp", "-a", made_before(15), place / "data"], check=True)
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 15, and this is 18"):
        EmbeddedPostgres(place / "data").start()


def test_wheel_in_a_closed_folder_is_run_all_the_same(place: Path, made_before: Callable[[int], Path]) -> None:
    subprocess.run(["cp", "-a", made_before(18), place / "data"], check=True)
    closed = place / "closed"
    closed.mkdir(0o700)
    package = bundled_bin_dir().parent.parent
    shutil.copytree(package.parent / f"{package.name}.libs", closed / f"{package.name}.libs")
    shutil.copytree(bundled_bin_dir().parent, closed / package.name / "pginstall18")
    with EmbeddedPostgres(place / "data", closed / package.name / "pginstall18" / "bin") as server:
        assert ask(server.url, "SELECT 1") == 1


class Starter:
    """A process of its own that has started the server: entered as (process, the server's pid)."""

    def __init__(self, data_dir: Path, version: int) -> None:
        self._argv = [sys.executable, "-c", STARTER, str(data_dir), str(bin_dir_of(version) or "")]

    def __enter__(self) -> tuple[subprocess.Popen[str], int]:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process, int(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)
        assert self._process.returncode in (0, -signal.SIGKILL)
