"""An open-loop load on a model's Service while something happens to it, and the verdict on its history."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from hack.repository import ROOT
from tests.e2e.client import POD
from tests.e2e.fleet import Fleet, Model
from tests.fixtures.known_models import DOCUMENTS, QUERY

SCRIPT = ROOT / "hack" / "stage" / "load.py"
WARM_UP_REQUESTS = 20


@dataclass
class History:
    """What the clients saw; `rows` is filled when the load has ended."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["error"]]

    @property
    def revisions(self) -> list[str]:
        """The revisions that answered, in the order in which they first did."""
        return list(dict.fromkeys(row["revision"] for row in self.rows if not row["error"]))

    def check(self, known: Mapping[tuple[str, str], Sequence[float]]) -> None:
        """Fail unless every request was answered, each with the scores of the (revision, adapter) that it states."""
        assert not self.failed, f"{len(self.failed)} of {len(self.rows)} failed, first: {self.failed[0]}"
        for row in self.rows:
            expected = known[row["revision"], row["adapter"]]
            assert row["scores"] == pytest.approx(expected, abs=1e-3), f"not the scores of what it states: {row}"


@contextmanager
def load(
    fleet: Fleet,
    model: Model,
    *,
    rate: float = 20,
    adapter: str = "",
    documents: Sequence[str] = DOCUMENTS,
    host: str = "",
) -> Iterator[History]:
    """Send requests for the length of the block, on kept and new connections; the history is complete after it.

    They go to the model's Service, or to another host that leads to it.

    The load runs in the client pod and writes there, so it goes on while the API server doesn't.
    """
    body = json.dumps({"query": QUERY, "documents": list(documents)})
    fleet.kube("exec", "-i", POD, "-c", POD, "--", "sh", "-c", "cat > /load/load.py", stdin=SCRIPT.read_text())
    fleet.kube("exec", "-i", POD, "-c", POD, "--", "sh", "-c", "cat > /load/bodies.jsonl", stdin=body)
    url = f"http://{host or model.name}:8080/v1/rerank"
    orders = f"adapters {adapter}\n" if adapter else ""
    # The load ends when its orders do: with the file `end`, whoever is there to close a pipe.
    start = (
        f"rm -f /load/end /load/history; (printf '{orders}'; while [ ! -e /load/end ]; do sleep 0.1; done) | "
        f"python -u /load/load.py load --url={url} --rate={rate} --longest=600 --bodies=/load/bodies.jsonl "
        "> /load/history 2> /load/errors; touch /load/done"
    )
    fleet.kube("exec", POD, "-c", POD, "--", "sh", "-c", f'rm -f /load/done; nohup sh -c "{start}" > /dev/null 2>&1 &')
    history = History()
    _wait_in_pod(fleet, f"test $(wc -l < /load/history) -ge {WARM_UP_REQUESTS}")
    try:
        yield history
    finally:
        fleet.kube("exec", POD, "-c", POD, "--", "touch", "/load/end")
        _wait_in_pod(fleet, "test -e /load/done")
    lines = fleet.kube("exec", POD, "-c", POD, "--", "cat", "/load/history").splitlines()
    history.rows = [json.loads(line) for line in lines]
    assert len(history.rows) >= WARM_UP_REQUESTS, fleet.kube("exec", POD, "-c", POD, "--", "cat", "/load/errors")


def _wait_in_pod(fleet: Fleet, check: str) -> None:
    waiting = f"for i in $(seq 600); do {check} && exit 0; sleep 0.1; done; cat /load/errors; exit 1"
    fleet.kube("exec", POD, "-c", POD, "--", "sh", "-c", waiting)
