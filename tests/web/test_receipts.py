"""A receipt comes as soon as it may, and no sooner (protocol, rules 6 and 7)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.web.test_pace import RESET, Following, Socket, over
from unbroken.application.deliveries import ShowUser
from unbroken.domain.events import Event, UserMessage
from unbroken.entrypoints.web.frames import CancellingFrame
from unbroken.entrypoints.web.pace import Pace

EVENT = Event(1, "e", "r", UserMessage("hello"), datetime.now(UTC))


@pytest.mark.asyncio
async def test_a_cancel_is_confirmed_after_the_message_that_it_cancels_was_shown() -> None:
    """A client that comes back may cancel before this socket has shown it anything."""
    socket = Socket()
    connection = over(socket, Following([ShowUser(EVENT), RESET], []), Pace())
    connection._receipts += [CancellingFrame(request_id="other"), CancellingFrame(request_id="r")]
    await connection.run()
    said = [(frame["type"], frame["requestId"]) for frame in map(json.loads, socket.sent)]
    assert said == [("cancelling", "other"), ("user", "r"), ("cancelling", "r"), ("reset", "r")]
