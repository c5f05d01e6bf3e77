"""Fills a worker's queue: a request that holds all its room for minutes, given up when it has served its purpose."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from hack.cluster.progress import StepError

_PROBE_S = 60
_POLL_S = 0.05
# Every character of it is a token, four times what the queue expects of prose: once the first part, a quarter of the
# queue by that estimate, is tokenised, it holds nearly all of it. Every part is as large as the first.
_DOCUMENT = "1,2,3,4,5,6,7,8,9," * 13
_BODY = json.dumps({"query": "1,2,3", "documents": [_DOCUMENT] * 4000}).encode()
_PROBE = json.dumps({"query": "q", "documents": ["a sentence of prose " * 20] * 8}).encode()


@contextmanager
def overloaded(url: str, key: str) -> Iterator[None]:
    """Keep the worker at `url` so busy that it refuses everybody else."""
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=_PROBE_S)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    try:
        connection.request("POST", "/v1/rerank", _BODY, headers)
        deadline = time.monotonic() + _PROBE_S
        while _probe(url, headers) != http.HTTPStatus.TOO_MANY_REQUESTS:
            if time.monotonic() > deadline:
                raise StepError(f"{url} still takes requests {_PROBE_S} s after its queue was filled")
            time.sleep(_POLL_S)
        yield
    finally:
        connection.close()  # the worker drops what still waits of a client that is gone


def _probe(url: str, headers: dict[str, str]) -> int:
    request = urllib.request.Request(f"{url}/v1/rerank", _PROBE, headers)
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
