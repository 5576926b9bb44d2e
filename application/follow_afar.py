"""The follower's side of a session that is watched here and whose attempt runs at another replica.

    looked at (opened, or read anew) ──another replica owns it──▶ Want ──▶ Feed ──▶ mirrored, readers told
                                                                   ▲        │ a gap ──▶ Want again, at once
                                                  every second ────┘        │ of a later run, event or log than is known
                                                                            ▼
                                                        read from the store first (log first, then live)

The mirror is an attempt of the session like one that runs here, so whoever reads it knows no difference. It holds only
what the store agrees with: the session's latest run, at its first unfinished event, counted for the sender. Everything
durable comes from the store alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from unbroken.application.live_sessions import LiveSession, LiveSessions
from unbroken.application.peer_messages import Feed, Want, encoded
from unbroken.domain.ports.peers import Peers
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import TextPart

log = logging.getLogger(__name__)

REPEAT_S: Final = 1.0
"""Between two Wants of a session: they keep it followed, and find what was lost at the end of what was said."""
AT_ONCE_S: Final = 0.1
"""What was asked for so lately is on its way: whatever shows the same gap meanwhile asks for nothing."""


class Followed:
    __slots__ = ("asked_at", "asked_for", "live", "owner", "read_at", "read_for", "run")

    def __init__(self, live: LiveSession, owner: int) -> None:
        self.live = live
        self.owner = owner
        self.run = live.run
        self.asked_for = -1
        """The position that was last asked for because it was missing."""
        self.asked_at = float("-inf")
        self.read_for = 0
        """The run because of which the store was last asked."""
        self.read_at = float("-inf")


class FollowAfar:
    def __init__(self, live: LiveSessions, peers: Peers, replica: int, read_anew: Callable[[str], None]) -> None:
        """`read_anew`: bring what is watched of a thread up to date with the store, soon; all that is asked for
        meanwhile is one more look."""
        self._live = live
        self._peers = peers
        self._replica = replica
        self._read_anew = read_anew
        self._followed: dict[SessionKey, Followed] = {}
        self._repeating: asyncio.TimerHandle | None = None
        live.on_look = self.looked

    def __len__(self) -> int:
        return len(self._followed)

    def looked(self, live: LiveSession) -> None:
        """A session was read from the store, or somebody here begins to watch it: follow its attempt where it runs."""
        if live.owner in (None, self._replica) or not live.pending:
            self._followed.pop(live.key, None)
            return
        assert live.owner is not None
        followed = self._followed.get(live.key)
        if followed is None or followed.live is not live or (followed.owner, followed.run) != (live.owner, live.run):
            followed = self._followed[live.key] = Followed(live, live.owner)
        if _mirrored(live) is None:
            self._ask(followed, again=True)
        if self._repeating is None:
            self._repeating = asyncio.get_running_loop().call_later(REPEAT_S, self._repeat)

    def fed(self, feed: Feed) -> None:
        """A part of an attempt's stream has come, or somebody says so."""
        followed = self._followed.get(feed.key)
        if followed is None:
            return
        live = followed.live
        if feed.run < live.run or feed.seq <= live.applied_seq:
            return  # late: a stalled owner's, or of an event that has ended
        if feed.run > live.run or feed.seq not in live.pending or feed.log_index > live.log_index:
            self._read(followed, feed.run)
            return
        if feed.replica != live.owner:
            return
        known = _mirrored(live) or 0
        if feed.position != known:
            if feed.until > known:
                self._ask(followed, again=True)
            return
        self._mirror(live, feed)

    def _mirror(self, live: LiveSession, feed: Feed) -> None:
        begun = live.attempt is None
        attempt = live.follow(feed.run, feed.seq, feed.log_index, feed.reason)
        if attempt is None or not attempt.stream.mirror(feed.parts):
            log.warning("what another replica sent of an attempt does not fit", extra={"session": str(feed.key)})
            return
        attempt.mirrored = feed.until
        if begun or any(not isinstance(part, TextPart) for part in feed.parts):
            live.notify()
        elif feed.parts:
            live.goes_on()

    def _read(self, followed: Followed, run: int) -> None:
        """Log first, then live. Whatever the bus says, the store is not asked all the time."""
        now = asyncio.get_running_loop().time()
        if followed.read_for != run or now - followed.read_at >= AT_ONCE_S:
            followed.read_for, followed.read_at = run, now
            self._read_anew(followed.live.key.thread_id)

    def _ask(self, followed: Followed, *, again: bool) -> None:
        now = asyncio.get_running_loop().time()
        live = followed.live
        position = _mirrored(live) or 0
        if again and followed.asked_for == position and now - followed.asked_at < AT_ONCE_S:
            return
        if again:
            followed.asked_for, followed.asked_at = position, now
        want = Want(live.key, self._replica, followed.run, position, again)
        self._peers.send(followed.owner, encoded(want))

    def _repeat(self) -> None:
        """Ask for everything that is still watched here; forget what nobody watches any more."""
        self._repeating = None
        for key, followed in list(self._followed.items()):
            live = followed.live
            if not live.readers and not live.looks:
                del self._followed[key]
                self._live.leave(live)
            elif live.gone or not live.pending or live.owner != followed.owner:
                del self._followed[key]
            else:
                self._ask(followed, again=_mirrored(live) is None)
        if self._followed:
            self._repeating = asyncio.get_running_loop().call_later(REPEAT_S, self._repeat)


def _mirrored(live: LiveSession) -> int | None:
    """How much of the session's latest attempt is here. None: nothing of it."""
    return live.attempt.mirrored if live.attempt is not None and live.attempt.run == live.run else None
