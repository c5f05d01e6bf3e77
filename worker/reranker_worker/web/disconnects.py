"""Work for a client that may go away: it is given up with the client."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

_T = TypeVar("_T")


async def unless_client_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T | None:
    """Return what `work` returns; cancel it and return None once the client has gone away."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        gone.cancel()
        working.cancel()
        # An error holds this frame, and through the task that ended by it itself: with it the model that it came from
        # would stay in memory until Python looks for such circles.
        del working


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
