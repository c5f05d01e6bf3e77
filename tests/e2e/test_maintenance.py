"""Long requests are finished, a drain takes what the budget allows, and a swap outlives its operator."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.client import Reply
from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import CommandFailed, eventually
from tests.e2e.load import load
from tests.fixtures.known_models import DOCUMENTS

pytestmark = pytest.mark.e2e

#: With the slow models, a request of the first number of documents takes some three seconds of one core. The other is
#: shorter, since two that are scored together would end together.
LONG = (300, 180)
LONG_DOCUMENTS = [" ".join([document] * 12) for document in DOCUMENTS]


@dataclass(frozen=True)
class Exchange:
    """A long request and its answer; seconds since the epoch."""

    began: float
    ended: float
    reply: Reply


@contextmanager
def long_requests(model: Model) -> Iterator[list[Exchange]]:
    """For the length of the block have clients that ask again as soon as they are answered, so one always waits."""
    exchanges: list[Exchange] = []
    over = threading.Event()

    def client(documents: list[str]) -> None:
        while not over.is_set():
            began = time.time()
            reply = model.rerank(documents=documents)
            exchanges.append(Exchange(began, time.time(), reply))

    with ThreadPoolExecutor(len(LONG)) as pool:
        clients = [pool.submit(client, LONG_DOCUMENTS * (count // len(LONG_DOCUMENTS))) for count in LONG]
        try:
            yield exchanges
        finally:
            over.set()
        for each in clients:
            each.result()


@pytest.mark.parametrize("strategy", ["RollingUpdate", "InPlace"])
def test_long_requests_are_finished_by_the_revision_that_began_them(fleet: Fleet, strategy: str) -> None:
    model = fleet.model(f"long-{strategy.lower()}", "slow-1", rollout={"strategy": strategy})
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model, rate=5) as history, long_requests(model) as exchanges:
        eventually(lambda: exchanges, what="a long request is answered")
        model.patch({"source": {"uri": "pvc://models/slow-2"}})
        model.wait_ready()
        new = model.rerank().revision
        eventually(lambda: exchanges[-1].reply.revision == new, what="the new model answers a long request")
        eventually(lambda: len(model.kube.items("pod", f"reranker.dev/model={model.name}")) == 1, what="one pod")
    folders = {old: "slow-1", new: "slow-2"}
    history.check({(revision, ""): fleet.artifacts.scores(folder) for revision, folder in folders.items()})
    known = {r: fleet.artifacts.scores(folder, documents=LONG_DOCUMENTS) for r, folder in folders.items()}
    for each in exchanges:
        repeated = len(each.reply.scores) // len(LONG_DOCUMENTS)
        assert repeated in [count // len(LONG_DOCUMENTS) for count in LONG]
        assert each.reply.scores == pytest.approx(known[each.reply.revision] * repeated, abs=1e-3)
    flipped = min(row["time"] + row["latency_s"] for row in history.rows if row["revision"] == new)
    across = [each for each in exchanges if each.reply.revision == old and each.began < flipped < each.ended]
    assert across, "no request of the old revision was under way when the new one first answered"


def test_a_drain_takes_no_more_pods_than_the_budget_allows(fleet: Fleet) -> None:
    model = fleet.model("evicted", "bert-1", replicas=2)
    model.wait_ready()
    before = set(model.pod_uids())
    (node,) = model.kube("get", "nodes", "-o", "name").split()
    drain = ("drain", node, f"--pod-selector=reranker.dev/model={model.name}", "--delete-emptydir-data")
    with load(fleet, model) as history:
        try:
            with pytest.raises(CommandFailed, match="disruption budget"):
                model.kube(*drain, "--timeout=20s")
            kept = before & set(model.pod_uids())
        finally:
            model.kube("uncordon", node)
        eventually(lambda: model.status["readyReplicas"] == 2, what="two pods serve again")
        model.wait_ready()
    assert len(kept) == 1
    history.check({(model.rerank().revision, ""): fleet.artifacts.scores("bert-1")})


@pytest.mark.parametrize("strategy", ["RollingUpdate", "InPlace"])
def test_a_swap_goes_on_after_its_operator_was_killed(fleet: Fleet, strategy: str) -> None:
    model = fleet.model(f"orphan-{strategy.lower()}", "bert-1", replicas=2, rollout={"strategy": strategy})
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        fleet.kill_operator()
        model.wait_ready()
        new = model.rerank().revision
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-2")})
    assert history.revisions == [old, new]
