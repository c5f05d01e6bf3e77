"""Long requests are finished, a drain takes what the budget allows, and a swap outlives its operator."""

from typing import Any

import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.kube import CommandFailed, eventually
from tests.e2e.load import load, wait_in_pod
from tests.fixtures.known_models import DOCUMENTS

pytestmark = pytest.mark.e2e

#: With the slow models, a request of these takes some three seconds of one core.
LONG_DOCUMENTS = [" ".join([document] * 12) for document in DOCUMENTS] * 75


def done(row: dict[str, Any]) -> float:
    return float(row["time"] + row["latency_s"])


@pytest.mark.parametrize("strategy", ["RollingUpdate", "InPlace"])
def test_long_requests_are_finished_by_the_revision_that_began_them(fleet: Fleet, strategy: str) -> None:
    model = fleet.model(f"long-{strategy.lower()}", "slow-1", rollout={"strategy": strategy})
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model, rate=0.35, documents=LONG_DOCUMENTS, warm_up=2) as history:
        model.patch({"source": {"uri": "pvc://models/slow-2"}})
        model.wait_ready()
        new = model.rerank().revision
        wait_in_pod(fleet, f"grep -q {new} /load/history")
        eventually(lambda: len(model.kube.items("pod", f"reranker.dev/model={model.name}")) == 1, what="one pod")
    known = {
        (revision, ""): fleet.artifacts.scores(folder, documents=LONG_DOCUMENTS[: len(DOCUMENTS)]) * 75
        for revision, folder in ((old, "slow-1"), (new, "slow-2"))
    }
    history.check(known)
    last_old = max(done(row) for row in history.rows if row["revision"] == old)
    first_new = min(row["time"] for row in history.rows if row["revision"] == new)
    assert last_old > first_new, "no request of the old revision was under way when the new one began to answer"


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
