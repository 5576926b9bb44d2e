"""The owner's side of a session that is watched at other replicas: each of these is one more reader of its stream.

    Want ──▶ registered and, in the same step, told where it stands ──▶ Feed, Feed … at most one each 20 ms
              │ another Want within 3 s: stays                            with all that came since the last one
              └─ none: forgotten

Nothing is remembered of what was sent. A follower that lost something says from where it wants it again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from unbroken.application.live_sessions import LiveAttempt, LiveSession, LiveSessions
from unbroken.application.peer_messages import Feed, Want, encoded
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES, Peers
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import Part, StepPart, merged, width, without_data

PAUSE_S: Final = 0.02
"""Between two Feeds of one session to one follower."""
LASTS_S: Final = 3.0
"""How long a follower is one after it has last asked; it asks every second."""
QUIET_S: Final = 0.5
"""What was sent so long ago and is still asked for was lost, even if nothing that came after it shows the gap."""
MOST_FOLLOWERS: Final = 64
"""Of one session: more replicas than that do not serve it, whatever the bus says."""
FEED_BYTES: Final = MAX_MESSAGE_BYTES - (32 << 10)
"""Of parts in one Feed; the rest of it is far shorter than what is left."""


class ShowAfar:
    def __init__(self, live: LiveSessions, peers: Peers, replica: int) -> None:
        self._live = live
        self.peers = peers
        self.replica = replica
        self._followers: dict[SessionKey, dict[int, Follower]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._followers.values()))

    def wanted(self, want: Want) -> None:
        """Another replica wants to follow a session. Ignored unless this one owns it, by all that is known here, and
        something of it is unfinished."""
        live = self._live.get(want.key)
        if live is None or live.owner != self.replica or not live.pending or want.replica == self.replica:
            return
        follower = self._followers.get(want.key, {}).get(want.replica)
        if follower is not None and follower.live is not live:
            follower.leave()  # the thread was deleted meanwhile, and is another one now
            follower = None
        here = self._followers.setdefault(want.key, {})
        if follower is None and len(here) < MOST_FOLLOWERS:
            follower = here[want.replica] = Follower(self, live, want.replica)
        if follower is not None:
            follower.asks(want)

    def forget(self, follower: Follower) -> None:
        here = self._followers.get(follower.live.key, {})
        if here.get(follower.replica) is follower:
            del here[follower.replica]
            if not here:
                del self._followers[follower.live.key]
        self._live.release(follower.live)


class Follower:
    """One replica's position in one session's stream."""

    __slots__ = (
        "_afar",
        "_expiry",
        "_fed_at",
        "_feeding",
        "_lasts_until",
        "_loop",
        "_owes",
        "_position",
        "_run",
        "live",
        "replica",
    )

    def __init__(self, afar: ShowAfar, live: LiveSession, replica: int) -> None:
        self._afar = afar
        self._loop = asyncio.get_running_loop()
        self.live = live
        self.replica = replica
        self._run = 0
        """Of the attempt that `_position` is in."""
        self._position = 0
        """See `stream_parts.Place`: what grows goes on within a part. Followers take it as it is."""
        self._owes = False
        """It is to be told where it stands, even if there is nothing new."""
        self._fed_at = float("-inf")
        self._feeding: asyncio.Handle | None = None
        self._lasts_until = 0.0
        self._expiry = self._loop.call_later(LASTS_S, self._expire)
        live.readers[self._wake] = self._wake

    def asks(self, want: Want) -> None:
        now = self._loop.time()
        self._lasts_until = now + LASTS_S
        attempt = self._attempt()
        if attempt is None:
            return  # it is told as soon as there is one
        known = want.position if want.run == attempt.run else 0
        if known > attempt.stream.position:
            return
        lost = known < self._position and now - self._fed_at > QUIET_S
        if want.again or lost or self._run != attempt.run:
            self._run, self._position = attempt.run, known
            self._owes = self._owes or want.again
            self._wake()

    def leave(self) -> None:
        self.live.readers.pop(self._wake, None)
        self._expiry.cancel()
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None
        self._afar.forget(self)

    def _attempt(self) -> LiveAttempt | None:
        attempt = self.live.attempt
        return attempt if attempt is not None and attempt.mirrored is None else None

    def _expire(self) -> None:
        left_s = self._lasts_until - self._loop.time()
        if left_s <= 0:
            self.leave()
        else:
            self._expiry = self._loop.call_later(left_s, self._expire)

    def _wake(self) -> None:
        if self._feeding is None:
            pause_s = self._fed_at + PAUSE_S - self._loop.time()
            soon = pause_s <= 0
            self._feeding = self._loop.call_soon(self._feed) if soon else self._loop.call_later(pause_s, self._feed)

    def _feed(self) -> None:
        """All that came since the last time, or as much of it as one message holds."""
        self._feeding = None
        attempt = self._attempt()
        if attempt is None or not attempt.shows():
            return
        if self._run != attempt.run:
            self._run, self._position, self._owes = attempt.run, 0, True
        parts, until = _portion(attempt.stream, self._position)
        if not parts and not self._owes:
            return
        feed = Feed(
            self.live.key,
            self._afar.replica,
            attempt.run,
            attempt.event.seq,
            attempt.log_index,
            attempt.reason,
            self._position,
            until,
            parts,
        )
        self._afar.peers.send(self.replica, encoded(feed))
        self._position, self._owes, self._fed_at = until, False, self._loop.time()
        if parts and until < attempt.stream.position:
            self._wake()


def _portion(stream: LiveStream, position: int) -> tuple[tuple[Part, ...], int]:
    """What follows `position`, merged, as far as one message holds it; and the position after that. Nothing, where a
    single part is too long for a message, which no agent's is: such an attempt is not shown from afar."""
    taken: list[Part] = []
    size = index = 0
    lacking, place = stream.beyond(position)
    until = place.position
    while index < len(lacking):
        part, index = merged(lacking, index)
        if isinstance(part, StepPart) and len(encoded(part)) > FEED_BYTES:
            part = without_data(part)  # a snapshot that is too long for a message; readers there ask the store
        size += len(encoded(part))
        if size > FEED_BYTES:
            break
        taken.append(part)
        until += width(part)
    return tuple(taken), until
