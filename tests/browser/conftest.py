"""One server with its own embedded database for all of these tests, and one Chromium a file."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.tab import PATIENCE_MS, Tab
from tests.end_to_end import conftest as served
from tests.end_to_end.server import Server

HERE = Path(__file__).parent
AGENTS = [part for name in ("talker", "bundled") for part in ("--agent", f"{name}={HERE / name}.py:graph")]

pytest_runtest_makereport = served.pytest_runtest_makereport


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "the page is tested in Chromium, which is not installed (Debian: apt-get install chromium)"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # A page that a test puts in the server's place has no address, and so no socket to this machine (tests/stock).
        away = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets"
        arguments = ["--no-sandbox", "--disable-background-networking", away]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """For one test's own server."""
    path = Path(tempfile.mkdtemp(prefix="browser-", dir=open_folder))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def server(open_folder: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=open_folder))
    folder.chmod(0o755)
    with Server(folder, arguments=AGENTS) as server:
        yield server


@pytest.fixture
def thread(request: pytest.FixtureRequest) -> str:
    """A thread of the test's own."""
    return re.sub(r"[^A-Za-z0-9_.-]", ".", str(request.node.name))[:120]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab; whatever its scripts or its policy complain about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            complaints.append(message.text)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", listen)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def tab(page: Page, server: Server, thread: str) -> Tab:
    """The test's thread with the talker, open and connected, in a list of nobody else's threads."""
    tab = Tab(page, server, thread, user=thread)
    tab.open()
    return tab
