"""Files over REST: kept as they came, handed out so that no browser runs them, refused before they fill the memory."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from functools import partial

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.rest import Reply, Rest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture(scope="module")
def small_limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"UNBROKEN_MAX_FILE_BYTES": "1000", "UNBROKEN_MAX_THREAD_FILES": "2"}
    with Server(tmp_path_factory.mktemp("files"), arguments=["--in-memory"], environment=limits) as server:
        yield server


@pytest.fixture
def rest(memory_server: Server, thread: str) -> Rest:
    return with_thread(memory_server, thread)


def with_thread(server: Server, thread: str) -> Rest:
    rest = Rest(server, f"user-of-{thread}"[:120])
    assert rest.ask("POST", "/api/threads", {"threadId": thread}).status == 201
    return rest


def upload(rest: Rest, thread: str, data: bytes, *, kind: str = "image/png", name: str = "a.png") -> Reply:
    path = f"/api/threads/{thread}/files"
    return rest.ask("POST", path, data, query={"name": name}, headers={"Content-Type": kind})


def test_a_file_comes_back_as_it_was_sent(rest: Rest, thread: str) -> None:
    reply = upload(rest, thread, PNG, name="C:\\photos/ünï code.png")
    assert reply.status == 201
    told = reply.json
    assert told == {"fileId": told["fileId"], "name": "ünï code.png", "mimeType": "image/png", "size": len(PNG)}
    found = rest.ask("GET", f"/api/threads/{thread}/files/{told['fileId']}")
    assert (found.status, found.body, found.headers["content-type"]) == (200, PNG, "image/png")
    assert found.headers["content-disposition"] == "inline; filename*=UTF-8''%C3%BCn%C3%AF%20code.png"


@pytest.mark.parametrize(
    ("kind", "served_as"),
    [
        ("text/html", "text/html"),
        ("image/svg+xml", "image/svg+xml"),
        ("application/pdf", "application/pdf"),
        ("text/plain; charset=utf-8", "text/plain"),
        ("", "application/octet-stream"),
        ("no type", "application/octet-stream"),
        ("a/b\tc", "application/octet-stream"),
    ],
)
def test_nothing_but_a_picture_is_shown_in_place_and_nothing_can_run(
    rest: Rest, thread: str, kind: str, served_as: str
) -> None:
    told = upload(rest, thread, b"<script>alert(1)</script>", kind=kind, name='a"\r\nb.html').json
    assert told["mimeType"] == served_as
    found = rest.ask("GET", f"/api/threads/{thread}/files/{told['fileId']}")
    assert found.headers["content-type"].partition(";")[0] == served_as
    assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22b.html"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_a_form_is_no_file(rest: Rest, thread: str) -> None:
    kind = "multipart/form-data; boundary=x"
    assert upload(rest, thread, b"--x\r\n\r\nhello\r\n--x--", kind=kind).error == (415, "not_a_file")


def test_a_nameless_file_gets_a_name(rest: Rest, thread: str) -> None:
    for name in ("", "/", "..\\", "\x00\x1f"):
        assert upload(rest, thread, b"x", name=name).json["name"] == "file"


def test_a_file_needs_a_thread_of_its_users(rest: Rest, thread: str) -> None:
    file_id = upload(rest, thread, PNG).json["fileId"]
    stranger = Rest(rest.server, "stranger")
    assert stranger.ask("GET", f"/api/threads/{thread}/files/{file_id}").error == (404, "not_found")
    assert upload(stranger, thread, PNG).error == (404, "not_found")
    assert upload(rest, f"no.{thread}"[:120], PNG).error == (404, "not_found")
    assert rest.ask("GET", f"/api/threads/{thread}/files/absent").error == (404, "not_found")
    assert rest.ask("GET", f"/api/threads/no.{thread}/files/{file_id}"[:250]).status == 404


def test_the_largest_file_fits_and_one_byte_more_does_not(small_limits: Server, thread: str) -> None:
    rest = with_thread(small_limits, thread)
    assert upload(rest, thread, b"x" * 1000).json["size"] == 1000
    assert upload(rest, thread, b"x" * 1001).error == (413, "too_long")
    assert upload(rest, thread, b"").json["size"] == 0
    assert upload(rest, thread, b"x").error == (409, "too_many_files")


def test_a_file_that_is_announced_too_large_is_refused_before_it_is_sent(small_limits: Server, thread: str) -> None:
    rest = with_thread(small_limits, thread)
    connection = http.client.HTTPConnection("127.0.0.1", small_limits.port, timeout=30)
    connection.putrequest("POST", f"/api/threads/{thread}/files?userId={rest.user}")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_file_of_unknown_length_is_refused_once_it_is_too_large(small_limits: Server, thread: str) -> None:
    rest = with_thread(small_limits, thread)
    connection = http.client.HTTPConnection("127.0.0.1", small_limits.port, timeout=30)
    connection.putrequest("POST", f"/api/threads/{thread}/files?userId={rest.user}")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for _ in range(3):
        connection.send(b"258\r\n" + b"x" * 600 + b"\r\n")  # and no end
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.asyncio
async def test_a_message_refers_only_to_files_of_its_own_thread(memory_server: Server, thread: str) -> None:
    rest, other = with_thread(memory_server, thread), f"other.{thread}"[:120]
    with_thread(memory_server, other)
    foreign = upload(Rest(memory_server, f"user-of-{other}"[:120]), other, PNG).json["fileId"]
    own = upload(rest, thread, PNG).json["fileId"]
    async with Client(memory_server.url, thread=thread, user=rest.user, agent="one") as tab:
        for number, file_id in enumerate(("absent", foreign), 1):
            await tab.say([{"type": "image", "file_id": file_id}])
            await tab.until(partial(heard, number))
            refusal = tab.view.frames[-1]
            assert (refusal["type"], refusal["code"], refusal["retryable"]) == ("error", "unknown_file", False)
            assert file_id in refusal["message"]
        await tab.say([{"type": "image", "file_id": 7}])
        await tab.until(lambda tab: tab.view.frames[-1].get("code") == "bad_frame")
        assert tab.view.frames[-1]["path"] == "content[0].file_id"
        content = [{"type": "text", "text": "look"}, {"type": "image", "file_id": own}]
        (end,) = await tab.answered(await tab.say(content))
        assert end["type"] == "final"
    history = rest.ask("GET", f"/api/threads/{thread}/messages").json
    assert history["messages"][0]["content"] == content


def heard(frames: int, tab: Client) -> bool:
    return len(tab.view.frames) >= frames
