"""`unbroken inspect`, `doctor` and `retry`, beside a server that is running at that moment."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.test_user_data import Installation
from tests.web.rest import Rest
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.domain.diagnosis import Finding
from unbroken.entrypoints.inspection import finding_lines
from unbroken.entrypoints.settings import SettingsError, read_settings

TRACE = "c" * 32
LOOKS = 50


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("inspection")
    settings = {"UNBROKEN_TRACE_URL": "https://traces.example/{trace_id}?from=unbroken"}
    with Server(directory, environment=settings) as server:
        yield Installation(directory, server)


def execute(here: Installation, statement: str, *values: object) -> None:
    url = EmbeddedPostgres(here.directory / "data").served_url()
    assert url is not None
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


async def reminded(here: Installation, thread: str) -> str:
    """A turn that has set a timer; its request."""
    async with Client(here.server.url, thread=thread, user="ann", agent="reminding") as client:
        request = await client.say("remind=5000")
        await client.answered(request)
    return request


@pytest.mark.asyncio
async def test_a_session_is_told_line_by_line_and_as_json(here: Installation) -> None:
    request = await reminded(here, "told")
    done = here.run("inspect", "ann:reminding:told")
    assert done.returncode == 0, done.stderr
    head, owner, _, turn, *lines = done.stdout.splitlines()
    assert head == "session ann:reminding:told"
    marks = r"epoch 1; log 1, delivered \d, acknowledged \d"
    found = re.fullmatch(rf"owner replica (\d+) at \S+ \(alive\), {marks}", owner)
    assert found
    assert turn == f"event 1, request {request}: user_message, answered, 1 attempt"
    assert all(re.match(r"  (20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}|not known) ", line) for line in lines)
    words = [line[37:].split(",")[0].split(" (")[0] for line in lines]
    assert words[:3] == ["received", "accepted", f"attempt 1 at replica {found[1]}"]
    assert lines[2].endswith(", because the session was idle")
    assert any(word.startswith("checkpoint ") for word in words)
    assert any(re.match(r"effect \S+ schedule_timer: \w+", word) for word in words)
    by_thread = here.run("inspect", "told", "--request", request, "--json")
    session, event = map(json.loads, by_thread.stdout.splitlines())
    assert (session["session"], event["requestId"]) == ("ann:reminding:told", request)
    assert {entry["kind"] for entry in event["entries"]} >= {"received", "accepted", "attempt", "committed", "effect"}


def test_a_session_that_is_not_there_is_said_in_one_line(here: Installation) -> None:
    names = (["nothing"], ["ann:reminding:nothing"], ["bob:reminding:told"], ["a:b"], ["told", "--request", "none"])
    for name in names:
        done = here.run("inspect", *name)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr


@pytest.mark.asyncio
async def test_the_doctor_tells_what_was_given_up_and_how_to_try_it_again(here: Installation) -> None:
    await reminded(here, "stuck")
    healthy = here.run("doctor")
    assert (healthy.returncode, healthy.stdout) == (0, "nothing is stuck\n"), healthy.stderr
    given_up = "UPDATE effects SET status = 'failed', attempt_count = 5, last_error = %s WHERE status IS NOT NULL"
    execute(here, f"{given_up} AND thread_id = 'stuck'", "ValueError: no such place")
    sick = here.run("doctor")
    assert sick.returncode == 1
    what, details, advice = sick.stdout.splitlines()
    assert what.startswith("an effect was given up: ann:reminding:stuck, since 20")
    assert "5 tries; ValueError: no such place" in details
    program, *arguments = shlex.split(advice.partition("then: ")[2])
    assert program == "unbroken"
    assert here.run(*arguments).returncode == 0
    again = here.run(*arguments)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    outcomes = (here.run("doctor") for _ in range(LOOKS))
    assert any(done.returncode == 0 for done in outcomes), "the server has not tried it again"
    told = here.run("inspect", "stuck").stdout
    assert "schedule_timer: completed, 6 tries" in told


@pytest.mark.asyncio
async def test_a_turn_with_a_trace_has_a_link_to_it(here: Installation) -> None:
    await reminded(here, "traced")
    context = json.dumps({"traceparent": f"00-{TRACE}-{'d' * 16}-01"})
    execute(here, "UPDATE events SET trace_context = %s WHERE thread_id = 'traced'", context)
    (turn,) = Rest(here.server, "ann").ask("GET", "/api/sessions/ann:reminding:traced/timeline").json["turns"]
    assert (turn["traceId"], turn["traceUrl"]) == (TRACE, f"https://traces.example/{TRACE}?from=unbroken")
    assert here.run("inspect", "traced").stdout.splitlines()[3].endswith(f", trace {TRACE}")
    execute(here, "UPDATE events SET trace_context = %s WHERE thread_id = 'traced'", context.replace("-01", "-00"))
    (turn,) = Rest(here.server, "ann").ask("GET", "/api/sessions/ann:reminding:traced/timeline").json["turns"]
    assert (turn["traceId"], turn["traceUrl"]) == (TRACE, None), "nobody has exported it"
    assert f"trace {TRACE} (not sampled)" in here.run("inspect", "traced").stdout


def test_words_of_strangers_steer_no_terminal() -> None:
    now = datetime(2026, 11, 29, tzinfo=UTC)
    finding = Finding("what", "a:b:c", now, 3, "ValueError: no\x1b[2J\n  → all is well\u202e 🧭", "advice")
    _, details, _ = finding_lines([finding])
    assert details == "  ValueError: no\\x1b[2J\\n  → all is well\\u202e 🧭"


def test_a_trace_url_that_names_no_trace_is_refused(tmp_path: Path) -> None:
    for wrong in ("https://traces.example/", "javascript:alert('{trace_id}')"):
        with pytest.raises(SettingsError, match="UNBROKEN_TRACE_URL"):
            read_settings(trace_url=wrong)
