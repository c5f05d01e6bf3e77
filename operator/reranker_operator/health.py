"""/livez, /readyz and /metrics, answered by a thread of their own: a loop that hangs can't say that it does."""

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

log = structlog.get_logger(__name__)

MAX_LAG_S = 10.0
CLIENT_TIMEOUT_S = 10.0


class Health:
    """Signs of life. Written by the loops, read by the health thread. silence_s: without news, while all is well."""

    def __init__(self, clock: Callable[[], float], silence_s: float) -> None:
        self._clock = clock
        self._silence_s = silence_s
        self._beat_at = self._heard_at = clock()
        self._listed = False

    def beat(self) -> None:
        """The event loop turns."""
        self._beat_at = self._clock()

    def heard(self) -> None:
        """Something came in: a watch event, or the end of a resync or of a look at the Lease.

        One that the API server didn't answer counts: a restart of this process wouldn't bring it back.
        """
        self._heard_at = self._clock()

    def listed(self, *, answered: bool) -> None:
        """Whether the API server listed the models at the last resync."""
        self._listed = answered

    def livez(self) -> tuple[bool, str]:
        now = self._clock()
        lag, silence = now - self._beat_at, now - self._heard_at
        if lag > MAX_LAG_S:
            return False, f"the event loop hasn't turned for {lag:.0f} s\n"
        if silence > self._silence_s:
            return False, f"no watch event, no resync and no look at the Lease for {silence:.0f} s\n"
        return True, "ok\n"

    def readyz(self) -> tuple[bool, str]:
        if self._listed:
            return True, "ok\n"
        return False, "the API server hasn't answered the last listing of models\n"


class HealthServer:
    """Serves health and metrics until closed."""

    def __init__(self, address: tuple[str, int], health: Health, registry: CollectorRegistry) -> None:
        class Handler(_Handler):
            pass

        Handler.health, Handler.registry = health, registry
        self._server = _Server(address, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads are not waited for: one of them may be serving a client that never finishes.
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    health: Health
    registry: CollectorRegistry

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/livez":
                self._verdict(*self.health.livez())
            case "/readyz":
                self._verdict(*self.health.readyz())
            case "/metrics":
                self._answer(HTTPStatus.OK, generate_latest(self.registry), CONTENT_TYPE_LATEST)
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"/livez, /readyz and /metrics are here\n", "text/plain")

    def _verdict(self, good: bool, text: str) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, text.encode(), "text/plain")

    def _answer(self, status: HTTPStatus, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.debug("health request", request=format % args)
