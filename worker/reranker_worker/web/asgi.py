"""What holds for every client request whatever its route: keys, paths and closing connections.

Pure ASGI: a middleware that reads ahead or buffers would hide a client's disconnect from the routes.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from reranker_worker.errors import FlagError, RequestError, Unauthorized
from reranker_worker.web.dialects import dialect_of
from reranker_worker.web.dialects.calls import Dialect, Reply

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger("worker")


@dataclass(frozen=True)
class PlainPaths:
    """Takes a path with slashes too many for the one without: clients put paths behind base URLs that end in one.

    Pages are left where they are: what they ask for is relative to their path.
    """

    app: App
    pages: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        path = "/" + "/".join(filter(None, scope["path"].split("/")))
        await self.app(scope if path in self.pages else {**scope, "path": path}, receive, send)


@dataclass(frozen=True)
class ClosingConnections:
    """Asks every client to close its connection while the worker parts from them: the next one goes elsewhere."""

    app: App
    parting: Callable[[], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its response carries `Connection: close` while parting."""

        async def closing_send(message: Message) -> None:
            if message["type"] == "http.response.start" and self.parting():
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, closing_send)


@dataclass
class KeyFile:
    """The clients' keys, one a line, read again when the file changes: a Secret is rotated under a running pod."""

    path: Path
    _signature: tuple[int, int] = (0, 0)
    _digests: list[bytes] = field(default_factory=list)
    _lost: bool = False

    def __post_init__(self) -> None:
        """Read the keys; raises FlagError."""
        try:
            self._read()
        except OSError as error:
            raise FlagError(f"--api-keys-file: {self.path} can't be read: {error.strerror}") from error

    def accepts(self, key: bytes) -> bool:
        """Compare with every key in constant time."""
        self._refresh()
        digest = hashlib.sha256(key).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)

    def _refresh(self) -> None:
        """Read the keys again; the last ones count for as long as there is no file."""
        try:
            self._read()
        except OSError as error:
            if not self._lost:
                log.warning("the clients' keys can't be read; the last ones go on", error=error.strerror)
            self._lost = True

    def _read(self) -> None:
        status = self.path.stat()
        if (signature := (status.st_ino, status.st_mtime_ns)) != self._signature:
            lines = (line.strip() for line in self.path.read_bytes().splitlines())
            self._digests = [hashlib.sha256(line).digest() for line in lines if line]
            self._signature = signature
        self._lost = False


@dataclass(frozen=True)
class Keys:
    """Refuses every request without a known key; deny by default, whatever the route but the open one's.

    A browser can't send a key for a page, and the playground's holds nothing: it asks for the key, and sends it.
    """

    app: App
    keys: KeyFile
    open_path: str
    refuse: "Refuse"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its key is known."""
        # Some clients send the key alone, without "Bearer".
        sent = (header(scope, b"authorization") or b"").strip()
        scheme, _, rest = sent.partition(b" ")
        key = rest.strip() if scheme.lower() == b"bearer" else sent
        if scope["path"] != self.open_path and not (key and self.keys.accepts(key)):
            await self.refuse(scope, send, Unauthorized("a valid key is needed: Authorization: Bearer <key>"))
            return
        await self.app(scope, receive, send)


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of that name, or None without one."""
    return next((value for key, value in scope["headers"] if key == name), None)


@dataclass(frozen=True)
class Refuse:
    """Answers a request without reading its body; the connection isn't used after that."""

    count: Callable[[str, Dialect, Reply, RequestError], None]

    async def __call__(self, scope: Scope, send: Send, error: RequestError) -> None:
        """Send what the path's clients take for that error."""
        dialect = dialect_of(scope["path"])
        reply = dialect.render_error(error, error.message)
        self.count(scope["method"], dialect, reply, error)
        headers = [(b"content-type", reply.media_type.encode()), (b"content-length", str(len(reply.body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        await send(
            {"type": "http.response.start", "status": reply.status, "headers": [*headers, (b"connection", b"close")]}
        )
        await send({"type": "http.response.body", "body": reply.body})
