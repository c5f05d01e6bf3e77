"""Says how fast the fetcher is where a source gives each connection so many bytes a second, as object storages do.

A registry on loopback serves one large file; it comes as the fetcher takes it, and by one connection for comparison.
Run it as a module: python -m bench.fetching --megabytes 1024 --rate 90
"""

import argparse
import hashlib
import json
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

from reranker_worker.fetching import parts
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Hub, Origins, Registries
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source

_MEGABYTE = 1_000_000
_PIECE = bytes(_MEGABYTE)
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def main() -> None:
    """Print the seconds and the rate of each way, medians of alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=90.0, help="megabytes a second that a connection is given")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    manifest = _manifest(options.megabytes)
    taken: dict[int, list[float]] = {1: [], parts.CONNECTIONS: []}
    with _registry(manifest, options.megabytes, options.rate) as address:
        for _ in range(options.rounds):
            for connections, seconds in taken.items():
                seconds.append(_seconds(address, manifest, connections))
    for connections, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{connections} at a time: {median:6.1f} s, {options.megabytes / median:6.1f} MB/s, hashed and published")


def _seconds(address: str, manifest: bytes, connections: int) -> float:
    source = Source(f"oci://{address}/bench/model", revision=_digest(manifest))
    origins = Origins(Path("/nonexistent"), Hub(), Registries(plain_http=frozenset({address})))
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(parts, "CONNECTIONS", connections):
        cache = ArtifactCache(Path(folder) / "cache", Path(folder) / "run")
        began = time.perf_counter()
        fetch_artifact(source, cache, origins, Transfer())
        return time.perf_counter() - began


def _manifest(megabytes: int) -> bytes:
    """Return the manifest of a file of zeros."""
    content = hashlib.sha256()
    for _ in range(megabytes):
        content.update(_PIECE)
    layer = {
        "mediaType": "application/octet-stream",
        "digest": f"sha256:{content.hexdigest()}",
        "size": megabytes * _MEGABYTE,
        "annotations": {"org.opencontainers.image.title": "model.safetensors"},
    }
    return json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, "layers": [layer]}).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def _registry(manifest: bytes, megabytes: int, rate: float) -> Iterator[str]:
    """Serve the file in a process of its own, for the length of the block; yield the address."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(manifest, megabytes * _MEGABYTE, rate * _MEGABYTE, its), daemon=True
    )
    process.start()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(manifest: bytes, size: int, bytes_per_s: float, told: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, manifest, size, bytes_per_s))
    told.send(server.server_address[1])
    server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, manifest: bytes, size: int, bytes_per_s: float, *args: object) -> None:
        self.manifest, self.size, self.bytes_per_s = manifest, size, bytes_per_s
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if "/manifests/" in self.path:
            self._begin(200, len(self.manifest))
            self.wfile.write(self.manifest)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        length = int(asked[2]) + 1 - int(asked[1]) if asked else self.size
        self._begin(206 if asked else 200, length)
        began, sent = time.perf_counter(), 0
        while sent < length:
            sent += self.wfile.write(_PIECE[: length - sent])
            time.sleep(max(0.0, began + sent / self.bytes_per_s - time.perf_counter()))

    def log_message(self, *_: object) -> None:
        return

    def _begin(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()


if __name__ == "__main__":
    main()
