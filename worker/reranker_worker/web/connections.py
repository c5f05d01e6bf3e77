"""The clients' connections: none is kept for ever, whether its client is slow, silent, or only faithful."""

import asyncio
import fcntl
import random
import termios
import time
from array import array
from collections.abc import Callable

from uvicorn.protocols.http.h11_impl import H11Protocol

from reranker_worker.web.asgi import ClosingConnections


class BoundedConnection(H11Protocol):
    """Ends by itself when its client does nothing for the keep-alive time, whatever it was at.

    uvicorn's own end between two requests only: one that never sends a whole head, or never reads its answer, is kept.
    """

    _head_begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request as for any other."""
        super().connection_made(transport)
        self._wait_for_a_request()

    def data_received(self, data: bytes) -> None:
        """Go on waiting until a head has come, but for as long again from its first byte on."""
        waiting, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        super().data_received(data)
        if waiting is None:
            return
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked or self.timeout_keep_alive_task is not None or self.transport.is_closing():
            self._head_begun = False
            waiting.cancel()
        elif self._head_begun:
            self.timeout_keep_alive_task = waiting
        else:
            self._head_begun = True
            waiting.cancel()
            self._wait_for_a_request()

    def timeout_keep_alive_handler(self) -> None:
        """Close, once the client has read what it asked for; one that reads nothing of it meanwhile gets no more."""
        super().timeout_keep_alive_handler()
        self._abort_unless_read(self._unread())

    def _wait_for_a_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _abort_unless_read(self, unread: int) -> None:
        def look_again() -> None:
            left = self._unread()
            if left < unread:
                self._abort_unless_read(left)
            else:
                self.transport.abort()

        if unread:
            self.loop.call_later(self.timeout_keep_alive, look_again)

    def _unread(self) -> int:
        """Return the bytes that wait for the client to read, here and in the kernel; 0 once all are on their way."""
        here = self.transport.get_write_buffer_size()
        if not here:
            return 0
        in_kernel = array("i", [0])
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_kernel)
        return here + in_kernel[0]


def ageing(connection_age_s: int, clock: Callable[[], float] = time.monotonic) -> type[BoundedConnection]:
    """Return a protocol whose connections are asked to be closed, by an answer's header, once they are that old.

    A Service spreads connections, not requests: a client that kept its own for ever would never reach a pod that came
    later. Ages differ by a tenth, so that clients don't come back all at once.
    """

    class AgeingConnection(BoundedConnection):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            due_s = clock() + connection_age_s * random.uniform(0.9, 1.1)  # noqa: S311  (no secret)
            self.app = ClosingConnections(self.app, lambda: clock() >= due_s)

    return AgeingConnection
