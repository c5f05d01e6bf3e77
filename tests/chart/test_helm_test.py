"""The script that `helm test` runs in the cluster, against servers that answer like the real ones."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .conftest import CHART, Json

SCRIPT = (CHART / "files/helm_test.py").read_text()

Answer = Callable[[str, Json], tuple[int, Json]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server on loopback; `answer` makes status and body of path and request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            status, body = answer(self.path, json.loads(self.rfile.read(size) or b"{}"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ready(path: str, _: Json) -> tuple[int, Json]:
    return (200, {}) if path == "/readyz" else (404, {})


def unready(_: str, __: Json) -> tuple[int, Json]:
    return 503, {}


def ranking(path: str, body: Json) -> tuple[int, Json]:
    assert path == "/v1/rerank"
    assert "France" in body["query"]
    scores = [1.0 if "Paris" in document else 0.1 for document in body["documents"]]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return 200, {"results": [{"index": index, "relevance_score": scores[index]} for index in order]}


def forgetful(_: str, __: Json) -> tuple[int, Json]:
    return 200, {"results": [{"index": 0, "relevance_score": 0.5}]}


def run(operator: Answer, model: Answer | None) -> subprocess.CompletedProcess[str]:
    with ExitStack() as servers:
        environment = {**os.environ, "OPERATOR_URL": servers.enter_context(serving(operator)), "no_proxy": "127.0.0.1"}
        if model is not None:
            environment["MODEL_URL"] = servers.enter_context(serving(model))
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False, timeout=30
        )


def test_an_operator_that_is_ready_passes() -> None:
    done = run(ready, None)
    assert done.returncode == 0
    assert done.stdout.endswith("is ready\n")


def test_a_model_s_ranking_is_printed() -> None:
    done = run(ready, ranking)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "1.0000  The capital of France is Paris.",
        "0.1000  Bread is baked from flour, water and yeast.",
    ]


@pytest.mark.parametrize(
    ("operator", "model", "said"),
    [
        pytest.param(unready, None, "503", id="an operator that isn't ready"),
        pytest.param(ready, unready, "503", id="a model that isn't ready"),
        pytest.param(ready, forgetful, "was sent 2 documents and ranked 1", id="a model that loses a document"),
    ],
)
def test_what_does_not_answer_fails(operator: Answer, model: Answer | None, said: str) -> None:
    done = run(operator, model)
    assert done.returncode != 0
    assert said in done.stderr
