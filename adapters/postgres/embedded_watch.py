"""Starts the embedded server again when it has ended by itself: killed, out of memory, or crashed.

An external database has an administrator, this one has only us: without a watch, everything accepted would wait for
a person (I13).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_errors import EmbeddedError

log = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0


@contextmanager
def kept_running(server: EmbeddedPostgres) -> Iterator[None]:
    """Until the block ends, `server` is looked at every second and started again if it is down.

    The block must not call the server's own methods; it has the server to itself again when this ends.
    """
    ending = threading.Event()
    watch = threading.Thread(target=_watch, args=(server, ending), name="unbroken-postgres-watch", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ending.set()
        watch.join()


def _watch(server: EmbeddedPostgres, ending: threading.Event) -> None:
    while not ending.wait(INTERVAL_S):
        try:
            if server.revive():
                log.warning("PostgreSQL had ended by itself and was started again")
        except EmbeddedError as error:
            log.warning("PostgreSQL has ended by itself and does not start yet: %s", error)
        except Exception:
            log.exception("could not look after PostgreSQL; trying again")
