"""Measures what a request costs beyond the model: HTTP, parsing, tokenising, sorting, serialising, on this machine.

A worker process serves the MiniLM cross-encoder of examples/finetune over loopback; one client at a time ranks real
package descriptions. The worker says how long the model took; all the rest of the client's wait is overhead. Run it as
a module: python -m bench.api_overhead
"""

import argparse
import http.client
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hack.clients import stage, worker
from hack.demo.models import artifacts
from hack.repository import ROOT

QUESTIONS = ROOT / "examples" / "debian-search" / "queries.json"
GOAL = 0.05


@dataclass(frozen=True)
class Sample:
    """One request's milliseconds: the client's whole wait, and the worker's account of it."""

    total: float
    model: float
    tokenising: float
    queueing: float

    @property
    def overhead(self) -> float:
        """Return what isn't the model's."""
        return self.total - self.model


def main() -> int:
    """Print the medians; return 1 where the overhead's share is above the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    samples = _measured(_body(args.documents), args.rounds)
    share = statistics.median(sample.overhead / sample.model for sample in samples)
    print(f"{args.documents} documents, {len(samples)} requests one after another; medians in ms")
    for name in ("total", "model", "tokenising", "queueing", "overhead"):
        print(f"{name:>11} {statistics.median(getattr(sample, name) for sample in samples):8.1f}")
    print(f"overhead is {share:.1%} of the model's time; the goal is {GOAL:.0%}")
    return int(share > GOAL)


def _measured(body: bytes, rounds: int) -> list[Sample]:
    found = {artifact.name: artifact.folder for artifact in artifacts()}
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        claims = Path(folder) / "claims"
        for name in (*stage.REVISIONS, stage.ADAPTER):
            shutil.copytree(found[name], claims / "models" / name)
        with worker.running(Path(folder) / "worker", claims) as served:
            served.tell(stage.manifest(0))
            served.wait("it answers", lambda state: bool(state.get("ready")))
            connection = http.client.HTTPConnection("127.0.0.1", served.port)
            _sample(connection, body)  # the first pass makes what later ones find
            return [_sample(connection, body) for _ in range(rounds)]


def _sample(connection: http.client.HTTPConnection, body: bytes) -> Sample:
    # The SIE SDK's dialect is the one that tells the times; the others differ by the names of their members.
    headers = {"content-type": "application/json", "accept": "application/json"}
    began = time.perf_counter()
    connection.request("POST", f"/v1/score/{stage.SERVED_NAME}", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    total = (time.perf_counter() - began) * 1000
    if answer.status != http.client.OK:
        raise RuntimeError(f"{answer.status}: {content.decode()}")
    times = (float(answer.headers[f"x-{name}-time"]) for name in ("inference", "tokenization", "queue"))
    return Sample(total, *times)


def _body(documents: int) -> bytes:
    content = json.loads(QUESTIONS.read_text())
    texts = [package["long"] for package in content["packages"].values()][:documents]
    return json.dumps(
        {"query": {"text": content["queries"][0]["query"]}, "items": [{"text": text} for text in texts]}
    ).encode()


if __name__ == "__main__":
    raise SystemExit(main())
