"""Files that go with a message."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.tab import Tab
from tests.end_to_end.server import Server


def png(width: int = 64, height: int = 48) -> bytes:
    """A picture in one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x0b\x6e\x5f" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def attach(tab: Tab, *files: FilePayload) -> None:
    with tab.page.expect_file_chooser() as chooser:
        tab.button("Attach files").click()
    chooser.value.set_files(list(files))


PICTURE: FilePayload = {"name": "sea.png", "mimeType": "image/png", "buffer": png()}
NOTE: FilePayload = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"remember the milk"}


def test_files_reach_the_agent_and_are_shown_to_whoever_comes_later(tab: Tab) -> None:
    attach(tab, PICTURE, NOTE)
    pending = tab.page.get_by_role("list", name="Attached files").get_by_role("listitem")
    expect(pending).to_have_text([re.compile(r"sea\.png\s*\d+ B"), re.compile(r"note\.txt\s*17 B")])
    tab.say("look")
    expect(pending).to_have_count(0)
    assert tab.ended() == "I see: text, image image/png, text"
    for _ in range(2):
        picture = tab.turn().get_by_role("img", name="sea.png")
        expect(picture).to_have_js_property("naturalWidth", 64)
        expect(tab.turn().get_by_role("link", name=re.compile(r"note\.txt"))).to_be_visible()
        tab.page.reload()
        tab.ended()
    with tab.page.expect_download() as download:
        tab.turn().get_by_role("link", name=re.compile(r"note\.txt")).click()
    assert Path(download.value.path()).read_bytes() == b"remember the milk"


def test_a_file_can_be_taken_away_and_a_message_may_be_files_alone(tab: Tab) -> None:
    attach(tab, PICTURE, NOTE)
    tab.button("Remove note.txt").click()
    tab.button("Send").click()
    tab.ended()
    expect(tab.turn().get_by_role("img", name="sea.png")).to_be_visible()
    expect(tab.turn().get_by_text("note.txt")).to_have_count(0)


def test_an_upload_that_fails_says_so_and_can_be_repeated(tab: Tab) -> None:
    tab.page.route("**/files?*", lambda route: route.abort())
    attach(tab, NOTE)
    expect(tab.page.get_by_text("there is no connection to the server")).to_be_visible()
    tab.box.fill("not without it")
    tab.page.unroute_all()
    tab.button("Upload note.txt again").click()
    expect(tab.page.get_by_text("17 B")).to_be_visible()


def test_a_file_over_the_limit_is_refused_before_it_is_sent(page: Page, server: Server, thread: str) -> None:
    me = {"userId": "local", "agents": ["talker"], "limits": {"fileBytes": 16}}
    page.route("**/api/me*", lambda route: route.fulfill(json=me))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tab = Tab(page, server, thread)
    tab.open()
    attach(tab, NOTE)
    expect(page.get_by_text("larger than 16 B")).to_be_visible()
    assert not any("/files" in url for url in asked)


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_file_comes_by_clipboard_and_by_mouse_too(tab: Tab, how: str) -> None:
    tab.box.evaluate(
        """(box, how) => {
            const data = new DataTransfer();
            data.items.add(new File(["hi"], "hi.txt", { type: "text/plain" }));
            const event = how === "paste"
                ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
                : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
            box.dispatchEvent(event);
        }""",
        how,
    )
    expect(tab.page.get_by_role("list", name="Attached files")).to_contain_text("hi.txt")
