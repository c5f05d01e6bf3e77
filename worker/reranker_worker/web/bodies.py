"""The bodies of requests: how large, how slow and how many at once they may be, and what becomes of one nobody reads.

Pure ASGI: a middleware that reads ahead or buffers would hide a client's disconnect from the routes.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from reranker_worker.errors import BodyTooSlow, Overloaded, TooLarge
from reranker_worker.web.asgi import App, Message, Receive, Refuse, Scope, Send, header

# Bodies of the largest size that a port holds at once; a few hundred megabytes, whatever clients send.
_LARGEST_AT_ONCE = 16
# Of a body that nobody reads so many times the largest is thrown away; one twice as large is still told so.
_LARGEST_LEFT_OVER = 4
_RETRY_S = 1.0


@dataclass
class BodyBounds:
    """Refuses a body that is too large before it is read, and one that grows too large or too slowly while it is.

    A body counts among those that are held until its request is answered. One port has one event loop, which owns this.
    """

    app: App
    max_bytes: int
    timeout_s: float
    refuse: Refuse
    held_bytes: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a bounded `receive`."""
        if scope["type"] != "http":
            return
        declared = header(scope, b"content-length")
        if declared is not None and (not declared.isdigit() or int(declared) > self.max_bytes):
            await self.refuse(scope, send, self._too_large())
            return
        body = _Body(self, receive, asyncio.get_running_loop().time() + self.timeout_s)
        try:
            await self.app(scope, body.receive, send)
        finally:
            self.held_bytes -= body.read_bytes

    def require(self, body_bytes: int) -> None:
        """Raise TooLarge for a body of so many bytes, or Overloaded where all bodies together are too many."""
        if body_bytes > self.max_bytes:
            raise self._too_large()
        if self.held_bytes > (most := _LARGEST_AT_ONCE * self.max_bytes):
            message = f"the bodies of all requests at once are too large; at most {most} bytes are held"
            raise Overloaded(message, retry_after_s=_RETRY_S)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is too large; at most {self.max_bytes} bytes are allowed")


@dataclass
class _Body:
    """One request's body as it comes."""

    bounds: BodyBounds
    source: Receive
    deadline_s: float
    read_bytes: int = 0
    complete: bool = False

    async def receive(self) -> Message:
        """Return the next message; raises TooLarge, BodyTooSlow or Overloaded."""
        if self.complete:  # what comes now is the client's disconnect, and that has no deadline
            return await self.source()
        try:
            async with asyncio.timeout_at(self.deadline_s):
                message = await self.source()
        except TimeoutError as error:
            raise BodyTooSlow(f"the body didn't arrive within {self.bounds.timeout_s:g} s") from error
        part_bytes = len(message.get("body", b""))
        self.read_bytes += part_bytes
        self.bounds.held_bytes += part_bytes
        self.complete = not message.get("more_body", False)
        self.bounds.require(self.read_bytes)
        return message


@dataclass(frozen=True)
class LeftOvers:
    """Throws away, within bounds, what clients still send of a body whose answer is already there.

    A connection that is closed before its client's bytes are read is reset, and the answer may be lost with it.
    """

    app: App
    max_bytes: int
    timeout_s: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its answer ends once its body has."""
        ended = not _has_body(scope)

        async def watched_receive() -> Message:
            nonlocal ended
            message = await receive()
            ended = ended or not message.get("more_body", False)
            return message

        async def ending_send(message: Message) -> None:
            if ended or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})  # all of the answer but its end, which would close
            await self._throw_away(receive)
            await send({"type": "http.response.body", "body": b""})

        await self.app(scope, watched_receive, ending_send)

    async def _throw_away(self, receive: Receive) -> None:
        thrown_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout_s):
                while thrown_bytes < _LARGEST_LEFT_OVER * self.max_bytes:
                    message = await receive()
                    thrown_bytes += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return


def _has_body(scope: Scope) -> bool:
    return header(scope, b"content-length") not in {None, b"0"} or header(scope, b"transfer-encoding") is not None
