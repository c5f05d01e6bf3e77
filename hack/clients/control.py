"""The stage's cues over loopback HTTP: a client's test runs in another Python and asks for what it is to meet."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hack.clients.stage import Stage
from hack.cluster.progress import StepError


@contextmanager
def cues(stage: Stage) -> Iterator[str]:
    """Serve `POST /<cue>` until the context ends; yield the URL. An answer, `cold_url`, comes once the cue is done."""
    by_name: Mapping[str, Callable[[], None]] = {
        "swap": stage.swap,
        "overload": stage.overload,
        "relieve": stage.relieve,
        "relieve-after-refusal": stage.relieve_after_refusal,
        "cool": stage.cool,
        "warm-after-refusal": stage.warm_after_refusal,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                by_name[self.path.removeprefix("/")]()
                status, said = 200, stage.cold_url
            except StepError as error:
                status, said = 500, str(error)
            content = said.encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: what the clients saw is the report."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="cues", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
