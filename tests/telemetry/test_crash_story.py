"""A turn that was interrupted by `kill -9`, a reconnect and a second attempt, as a collector sees it: one story."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.telemetry.collector import Received, Span, exporting_to
from tests.telemetry.tree import tree

pytestmark = pytest.mark.slow

SAID = "an elderberry cordial words=30 pause=0.02"


def named(spans: Sequence[Span], name: str) -> list[Span]:
    return sorted((span for span in spans if span.name == name), key=lambda span: span.start_ns)


def reachable(spans: Sequence[Span], first: Span) -> set[str]:
    """Ids of the spans that hang together with `first`, by parents and links, whichever way they point."""
    ends = {span.span_id: {span.parent_id, *(target for _, target, _ in span.links)} for span in spans}
    found, look = set[str](), [first.span_id]
    while look:
        one = look.pop()
        if one in ends and one not in found:
            found.add(one)
            look += [*ends[one], *(other for other, named in ends.items() if one in named)]
    return found


async def crash(server: Server, received: Received) -> tuple[str, str]:
    """(request id, final text) of a turn whose server dies after a superstep, and whose client was away meanwhile."""
    async with Client(server.url, thread="t", agent="three", stays=True) as client:
        request = await client.say(SAID)
        await client.until(lambda c: len(c.view.shown.get(request, "")) > 100)
        client.cut()
        await client.until(lambda c: c.connected > 1 and len(c.view.shown.get(request, "")) > 150)
        await asyncio.to_thread(received.until, lambda spans: bool(named(spans, "commit superstep")))
        server.kill()
        server.start()
        await asyncio.to_thread(server.wait_ready)
        (final,) = await client.answered(request)
        await asyncio.to_thread(received.until, lambda spans: bool(named(spans, "acknowledge log")))
    assert client.view.faults == []
    return request, str(final["message"])


def test_a_killed_turn_its_reconnect_and_its_second_attempt_are_one_story(
    folder: Path, collecting: tuple[str, Received]
) -> None:
    endpoint, received = collecting
    with Server(folder, environment=exporting_to(endpoint, OTEL_SERVICE_NAME="chat")) as server:
        request, answer = asyncio.run(crash(server, received))
        log = server.said()
    spans = received.until(lambda spans: len(named(spans, "stream answer")) >= 2)
    (accepted,) = named(spans, "accept events")
    assert accepted.attributes["unbroken.request.id"] == request
    assert {span.service for span in spans} == {"chat"}
    assert {span.instance.rpartition("/")[2] for span in spans} == {"1", "2"}, "two boots tell of it"

    # One trace, and nothing in it hangs in the air.
    mine = [span for span in spans if span.trace_id == accepted.trace_id]
    assert reachable(spans, accepted) >= {span.span_id for span in mine}, tree(mine)
    elsewhere = [span for span in spans if span.trace_id != accepted.trace_id]
    assert {span.name for span in elsewhere} <= {"subscribe log"}, "but for sockets that nothing waited for yet"

    # The second attempt links to the first, whose process could not tell of it any more, and says why it is made.
    first, second = named(mine, "process events")
    assert [first.attributes["unbroken.attempt"], second.attributes["unbroken.attempt"]] == [1, 2]
    assert (first.failed, first.attributes["unbroken.attempt.reconstructed"]) == (True, True)
    assert [(target, about["unbroken.attempt.reason"]) for _, target, about in second.links] == [
        (first.span_id, "takeover")
    ]
    assert second.attributes["unbroken.attempt.resumes"], "a superstep was committed"
    assert second.attributes["unbroken.outcome"] == "answered"
    assert first.parent_id == second.parent_id == accepted.span_id

    # What the first one did before it died belongs to it.
    (gather,) = named(mine, "node gather")
    (write,) = [span for span in named(mine, "node write") if not span.failed]
    assert (gather.parent_id, write.parent_id) == (first.span_id, second.span_id)
    assert [span.attributes["langgraph.step"] for span in (gather, write)] == [1, 3]
    assert len(named(mine, "chat scripted")) == 2
    assert {span.parent_id for span in named(mine, "commit superstep")} == {first.span_id}

    # The reconnect: a socket that goes on in mid-answer, and streams that link to the attempt and to their socket.
    resumed = [span for span in named(mine, "subscribe log") if span.attributes["unbroken.kind"] == "stream"]
    assert resumed
    assert all(span.parent_id == accepted.span_id for span in resumed)
    streams = named(mine, "stream answer")
    assert streams[0].attributes["unbroken.outcome"] == "left"
    assert streams[-1].attributes["unbroken.outcome"] == "ended"
    sockets = {span.span_id for span in named(spans, "subscribe log")}
    for span in streams:
        attempt = first if span.attributes["unbroken.attempt"] == 1 else second
        targets = {target for _, target, _ in span.links}
        assert attempt.span_id in targets
        assert targets & sockets

    # Through the outbox: delivered by a link to the commit that owed it, then acknowledged.
    (commit,) = named(mine, "commit end")
    (delivered,) = named(mine, "deliver send_message")
    (acknowledged,) = named(mine, "acknowledge log")
    assert commit.parent_id == second.span_id
    assert commit.span_id in {target for _, target, _ in delivered.links}
    assert acknowledged.parent_id == delivered.span_id
    (query,) = [span for span in named(mine, "SELECT") if span.parent_id == commit.span_id]
    assert "unbroken_commit" in query.attributes["db.query.text"]

    # Nothing of it is there a second time, no span for a token, no words, and the log names the story.
    assert max(Counter(span.span_id for span in spans).values()) == 1
    assert len(mine) < 40 < len(answer.split())
    assert not [word for word in ["elderberry", *answer.split()] if any(word.encode() in raw for raw in received.raw)]
    assert accepted.trace_id in next(line for line in log.splitlines() if "event finished" in line)


async def talk(server: Server, *texts: str) -> None:
    async with Client(server.url, thread="t", agent="one") as client:
        for text in texts:
            await client.answered(await client.say(text))


def test_a_longer_answer_has_no_more_spans(folder: Path, collecting: tuple[str, Received]) -> None:
    endpoint, received = collecting
    with Server(folder, arguments=["--in-memory"], environment=exporting_to(endpoint)) as server:
        asyncio.run(talk(server, "words=3", "words=300 pause=0"))
    spans = received.until(lambda spans: len(named(spans, "deliver send_message")) == 2)
    counts = Counter(span.trace_id for span in spans if span.name not in ("acknowledge log", "subscribe log"))
    assert len(counts) == 2
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("asked", ["", "span_only"])
def test_what_was_said_is_exported_only_where_it_was_asked_for(
    folder: Path, collecting: tuple[str, Received], asked: str
) -> None:
    endpoint, received = collecting
    variables = exporting_to(
        endpoint,
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=asked,
        OTEL_SEMCONV_STABILITY_OPT_IN="database,gen_ai_latest_experimental",
    )
    with Server(folder, arguments=["--in-memory"], environment=variables) as server:
        asyncio.run(talk(server, "elderberry words=2", "elderberry fail=1"))
    received.until(lambda spans: len(named(spans, "deliver report_failure")) == 1)
    told = [raw for raw in received.raw if b"elderberry" in raw or b"told to fail" in raw]
    assert bool(told) == bool(asked)


def test_at_a_sampling_rate_of_nought_nothing_is_exported_and_everything_works(
    folder: Path, collecting: tuple[str, Received]
) -> None:
    endpoint, received = collecting
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    with Server(folder, environment=exporting_to(endpoint, **sampled)) as server:
        asyncio.run(talk(server, "words=3", "words=3"))
    assert received.spans == []
