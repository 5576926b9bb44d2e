"""Threads: a user's conversations, listed, named and deleted; nobody else's."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, checkpoint_id, said, state_at, unique
from tests.contracts.subjects import Subject
from unbroken.domain.effects import ReportFailure, RequestInput
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted
from unbroken.domain.events import InputResponse, UserMessage
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.session import SessionKey
from unbroken.domain.threads import Place, Thread, ThreadStatus

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def talked(store: Subject, user: str, question: str = "a question", answer: str = "an answer") -> Conversation:
    talk = Conversation(store, (await Conversation.begin(store)).replica, SessionKey(user, "demo", unique("thread")))
    await talk.finish(await talk.accepted(talk.new(UserMessage(question))), said(answer))
    return talk


async def listed(store: Subject, user: str, query: str = "") -> list[str]:
    return [thread.thread_id for thread in await store.threads.page(user, query=query, limit=PLENTY)]


async def test_a_thread_tells_where_it_stands(store: Subject) -> None:
    talk = await talked(store, unique("user"), "What is  new?\nTell me.")
    await store.outbox.mark({talk.thread_id: Reached(1)}, {talk.thread_id: Reached(1)})
    thread = await store.threads.get(talk.key.user_id, talk.thread_id)
    assert (thread.thread_id, thread.agent_id, thread.title) == (talk.thread_id, "demo", "What is new? Tell me.")
    assert (thread.cursor, thread.acked, thread.status) == (1, 1, ThreadStatus.IDLE)
    assert thread.created_at <= thread.updated_at
    assert await store.threads.page(talk.key.user_id, limit=PLENTY) == [thread]


async def test_a_thread_is_busy_while_a_message_is_unfinished_and_waits_while_a_question_is_open(
    store: Subject,
) -> None:
    talk = await Conversation.begin(store)

    async def status() -> str:
        return (await store.threads.get(talk.key.user_id, talk.thread_id)).status

    claim = await talk.accepted()
    assert await status() == "busy"
    await talk.finish(claim, said(""), RequestInput("i:1", "sure?"), open_questions=("i:1",))
    assert await status() == "waiting"
    claim = await talk.accepted(talk.new(InputResponse("i:1", "yes")))
    assert await status() == "busy"
    await talk.finish(claim, open_questions=())
    assert await status() == "idle"


async def test_threads_come_newest_activity_first_and_renaming_is_none(store: Subject) -> None:
    user = unique("user")
    one, two, three = [await talked(store, user) for _ in range(3)]
    await talked(store, unique("other"))
    assert await listed(store, user) == [three.thread_id, two.thread_id, one.thread_id]
    await two.finish(await two.accepted(), ReportFailure("model_failed", "no", 2))
    await store.threads.rename(user, one.thread_id, "First")
    assert await listed(store, user) == [two.thread_id, three.thread_id, one.thread_id]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_hold_each_thread_once_whatever_their_size(store: Subject, limit: int) -> None:
    user = unique("user")
    all_ids = {(await store.threads.create(SessionKey(user, "demo", unique("thread")))).thread_id for _ in range(7)}
    found: list[Thread] = []
    before: Place | None = None
    while page := await store.threads.page(user, before=before, limit=limit):
        found.extend(page)
        before = Place(page[-1].updated_at, page[-1].thread_id)
    assert len(found) == len(all_ids)
    assert {thread.thread_id for thread in found} == all_ids


async def test_threads_of_the_same_moment_are_told_apart_by_their_ids(store: Subject) -> None:
    user = unique("user")
    threads = [await store.threads.create(SessionKey(user, "demo", id_)) for id_ in map(unique, ("a", "B", "c"))]
    newest = max(thread.updated_at for thread in threads)
    below = await store.threads.page(user, before=Place(newest, "zzz"), limit=PLENTY)
    assert {thread.thread_id for thread in below} == {thread.thread_id for thread in threads}
    assert await store.threads.page(user, before=Place(min(t.updated_at for t in threads), ""), limit=PLENTY) == []


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("needle", True),
        ("NEEDLE", True),
        ("100%", True),
        ("1%0", False),
        ("%", True),
        ("a_b", True),
        ("a_c", False),
        ("back\\slash", True),
        ("hay\\", False),
        ("'; DROP TABLE events; --", False),
        ("content", False),
        ("user_message", False),
    ],
)
async def test_a_search_finds_what_was_said_and_no_pattern(store: Subject, query: str, holds: bool) -> None:
    user = unique("user")
    talk = await talked(store, user, "hay needle 100% a_b abc back\\slash")
    await talked(store, user, "hay")
    await talked(store, unique("other"), "needle 100% a_b back\\slash")
    assert await listed(store, user, query) == ([talk.thread_id] if holds else [])


async def test_a_search_finds_answers_questions_titles_and_blocks(store: Subject) -> None:
    user = unique("user")
    answered = await talked(store, user, "hay", "an alpha answer")
    asked = await talked(store, user)
    asks = (said(""), RequestInput("i:1", "a beta question"))
    await asked.finish(await asked.accepted(), *asks, open_questions=("i:1",))
    await asked.finish(await asked.accepted(asked.new(InputResponse("i:1", "a gamma response"))))
    named = await talked(store, user)
    await store.threads.rename(user, named.thread_id, "A delta title")
    blocks = await talked(store, user)
    content = [{"type": "text", "text": "an epsilon"}, {"type": "image", "url": "zeta"}]
    await blocks.finish(await blocks.accepted(blocks.new(UserMessage(content))))
    found = {word: await listed(store, user, word) for word in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")}
    assert found == {
        "alpha": [answered.thread_id],
        "beta": [asked.thread_id],
        "gamma": [asked.thread_id],
        "delta": [named.thread_id],
        "epsilon": [blocks.thread_id],
        "zeta": [],
    }


async def test_a_title_that_no_database_can_hold_is_refused(store: Subject) -> None:
    talk = await talked(store, unique("user"))
    for refused in ("a\0b", "\ud800"):
        with pytest.raises(InvalidValue):
            await store.threads.rename(talk.key.user_id, talk.thread_id, refused)
        with pytest.raises(InvalidValue):
            await store.threads.page(talk.key.user_id, query=refused, limit=1)


async def test_a_name_stands_until_it_is_taken_back(store: Subject) -> None:
    talk = await talked(store, unique("user"), "hello")
    assert (await store.threads.rename(talk.key.user_id, talk.thread_id, "Greetings")).title == "Greetings"
    await talk.finish(await talk.accepted())
    assert (await store.threads.get(talk.key.user_id, talk.thread_id)).title == "Greetings"
    assert (await store.threads.rename(talk.key.user_id, talk.thread_id, None)).title == "hello"


async def test_a_thread_made_before_its_first_message_takes_it_as_its_first(store: Subject) -> None:
    talk = await Conversation.begin(store)
    made = await store.threads.create(talk.key, title="Plans")
    assert (made.title, made.cursor, made.status, made.created_at) == ("Plans", 0, "idle", made.updated_at)
    assert await store.threads.create(talk.key, title="Other plans") == made
    claim = await talk.accepted()
    assert (claim.event.seq, claim.run, claim.tries, claim.taken_over, claim.head) == (1, 1, 1, False, "")
    await talk.finish(claim, state=state_at(1))
    assert await talk.log() == [(1, "answer 1")]
    assert await talk.head() == checkpoint_id(1)


async def test_a_thread_is_made_once_however_many_make_it_and_talk(store: Subject) -> None:
    talk = await Conversation.begin(store)
    makers = (store.threads.create(talk.key) for _ in range(4))
    receipts, _ = await asyncio.gather(asyncio.gather(*(talk.accept() for _ in range(4))), asyncio.gather(*makers))
    assert sorted(receipt.event.seq for receipt in receipts) == [1, 2, 3, 4]
    assert sum(receipt.claim is not None for receipt in receipts) == 1


async def test_a_thread_of_somebody_else_is_told_from_no_thread_by_nothing(store: Subject) -> None:
    talk = await talked(store, unique("user"))
    stranger = unique("user")
    for thread_id in (talk.thread_id, unique("absent")):
        with pytest.raises(NotYourThread, match=thread_id):
            await store.threads.get(stranger, thread_id)
        with pytest.raises(NotYourThread, match=thread_id):
            await store.threads.rename(stranger, thread_id, "mine")
        with pytest.raises(NotYourThread, match=thread_id):
            await store.threads.delete(stranger, thread_id)
    for key in (SessionKey(stranger, "demo", talk.thread_id), SessionKey(talk.key.user_id, "other", talk.thread_id)):
        with pytest.raises(NotYourThread):
            await store.threads.create(key)
    assert await talk.log() == [(1, "an answer")]
    assert (await store.threads.get(talk.key.user_id, talk.thread_id)).title == "a question"


async def test_a_deleted_thread_is_gone_for_its_user_and_its_id_is_never_bound_again(store: Subject) -> None:
    talk = await talked(store, unique("user"))
    user = talk.key.user_id
    assert await store.threads.gone([talk.thread_id]) == frozenset()
    assert await store.threads.delete(user, talk.thread_id) == talk.key
    assert await store.threads.delete(user, talk.thread_id) == talk.key
    assert await listed(store, user) == []
    assert await store.threads.gone([talk.thread_id, "absent"]) == {talk.thread_id, "absent"}
    for refused in (
        store.threads.get(user, talk.thread_id),
        store.threads.rename(user, talk.thread_id, "mine"),
        store.threads.create(talk.key),
        talk.accept(),
        talk.view(),
        talk.cancel("anything"),
    ):
        with pytest.raises(ThreadDeleted):
            await refused
    with pytest.raises(NotYourThread):
        await store.threads.create(SessionKey("somebody", "demo", talk.thread_id))
    with pytest.raises(NotYourThread):
        await talk.accept(key=SessionKey("somebody", "demo", talk.thread_id))
