"""What orchestrators and load balancers ask. Anyone may: nothing here names a user, a thread or an address.

Neither who asks nor from which page matters, so identity and Origin are not looked at, and a probe comes with whatever
`Host` its orchestrator likes: both paths are to be left out of the checks of `Host`.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, get
from litestar.datastructures import State

from unbroken.application.readiness import OK
from unbroken.entrypoints.service import Service

LIVE_PATH: Final = "/health/live"
READY_PATH: Final = "/health/ready"
FRESH: Final = {"Cache-Control": "no-store"}


@get(LIVE_PATH)
async def live() -> Response[dict[str, str]]:
    """The process runs and its event loop turns. The database is not asked: a restart of ours would not mend it."""
    return Response({"status": "live"}, headers=FRESH)


@get(READY_PATH)
async def ready(request: Request[Any, Any, State]) -> Response[dict[str, Any]]:
    """200 while this replica should get new work, else 503; each check is `ok`, or says in words what is wrong."""
    service: Service = request.app.state.service
    checks = await service.readiness()
    is_ready = all(found == OK for found in checks.values())
    status = {"status": "ready" if is_ready else "not ready", "checks": checks}
    return Response(status, status_code=200 if is_ready else 503, headers=FRESH)
