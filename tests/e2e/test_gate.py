"""A candidate that loads well and ranks badly answers nobody, and goes by itself."""

import json
from collections.abc import Sequence

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import Object, condition, eventually
from tests.e2e.load import load
from tests.fixtures.known_models import DOCUMENTS, QUERY

pytestmark = pytest.mark.e2e


def golden_set(fleet: Fleet, documents: Sequence[str] = DOCUMENTS) -> Object:
    """Return a ConfigMap with one question, judged as bert-1 ranks it: with all documents any other ranks worse."""
    scores = fleet.artifacts.scores("bert-1", documents=documents)
    relevance = [sorted(scores).index(score) for score in scores]
    line = json.dumps({"query": QUERY, "documents": list(documents), "relevance": relevance})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "golden"}, "data": {"golden.jsonl": line}}


def test_a_candidate_that_ranks_badly_never_answers_and_is_rolled_back(fleet: Fleet) -> None:
    fleet.kube.apply(golden_set(fleet))
    gate = {"goldenSet": {"configMapRef": {"name": "golden"}}, "minNDCG": "0.99"}
    model = fleet.model("gated", "bert-1", rollout={"gate": gate})
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        stalled = eventually(lambda: _stalled(model), what="the candidate is rejected")
        eventually(lambda: len(model.pods()) == 1, what="the candidate's pod is gone")
    history.check({(old, ""): fleet.artifacts.scores("bert-1")})

    assert "nDCG@10" in stalled["message"]
    (rejected,) = model.status["revisions"]["rejected"]
    assert (rejected["reason"], float(rejected["ndcg"]) < 0.99) == ("GateFailed", True)
    assert condition(model.resource(), "Available")["status"] == "True"

    model.patch({"rollout": {"gate": {"minNDCG": "0.1"}}})
    model.wait_ready()
    assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("bert-2"), abs=1e-3)


def test_a_candidate_that_ranks_live_queries_otherwise_never_answers_and_is_rolled_back(fleet: Fleet) -> None:
    """bert-2 ranks three of the documents as bert-1 does; clients ask with a fourth, where two of six pairs differ."""
    fleet.kube.apply(golden_set(fleet, DOCUMENTS[:3]))
    shadow = {"percent": 50, "durationSeconds": 10}
    gate = {"goldenSet": {"configMapRef": {"name": "golden"}}, "minRankCorrelation": "0.9", "shadow": shadow}
    model = fleet.model("shadowed", "bert-1", rollout={"gate": gate})
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        eventually(lambda: _stalled(model), what="the candidate is rejected")
        eventually(lambda: len(model.pods()) == 1, what="the candidate's pod is gone")
    history.check({(old, ""): fleet.artifacts.scores("bert-1")})
    (rejected,) = model.status["revisions"]["rejected"]
    assert (rejected["rankCorrelation"], rejected["liveRankCorrelation"]) == ("1.0000", "0.3333")

    with load(fleet, model) as history:
        model.patch({"rollout": {"gate": {"minRankCorrelation": "0.3"}}})
        model.wait_ready()
        new = model.rerank().revision
    known = {(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-2")}
    history.check(known)
    assert len(known) == 2


@pytest.mark.parametrize("asleep", [False, True], ids=["no room for two pods", "edited while it slept"])
def test_a_model_whose_last_pod_made_room_for_a_bad_candidate_serves_again_by_itself(
    fleet: Fleet, asleep: bool
) -> None:
    fleet.kube.apply(golden_set(fleet))
    gate = {"goldenSet": {"configMapRef": {"name": "golden"}}, "minNDCG": "0.99"}
    model = fleet.model("alone", "bert-1", rollout={"gate": gate, "maxSurge": 0, "maxUnavailable": 1})
    model.wait_ready()
    old = model.rerank().revision
    if asleep:
        model.patch({"replicas": 0})
        eventually(lambda: not model.pods(), what="the model sleeps")
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        model.patch({"replicas": 1})
    else:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
    eventually(lambda: _stalled(model), what="the candidate is rejected")
    eventually(
        lambda: condition(model.resource(), "Available")["status"] == "True", what="a pod of the old revision is ready"
    )
    eventually(lambda: fleet.client.reaches(model.name), what="the node leads to that pod")
    reply = model.rerank()
    assert reply.revision == old
    assert reply.scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-3)


def test_a_model_that_wakes_to_a_source_that_is_not_there_serves_again_by_itself(fleet: Fleet) -> None:
    """The roll was complete while there was no pod to roll, and Kubernetes knows no deadline for what is complete."""
    model = fleet.model("woken", "bert-1", rollout={"progressDeadlineSeconds": 30})
    model.wait_ready()
    old = model.rerank().revision
    model.patch({"replicas": 0})
    eventually(lambda: not model.pods(), what="the model sleeps")
    model.patch({"source": {"uri": "pvc://models/nowhere"}})
    eventually(lambda: _rolled_asleep(fleet, model, old), what="the roll of no pods is complete")
    model.patch({"replicas": 1})
    eventually(lambda: _stalled(model, "ProgressDeadlineExceeded"), what="the revision is rejected")
    eventually(
        lambda: condition(model.resource(), "Available")["status"] == "True", what="a pod of the old revision is ready"
    )
    eventually(lambda: fleet.client.reaches(model.name), what="the node leads to that pod")
    assert model.rerank().revision == old


def _rolled_asleep(fleet: Fleet, model: Model, old: str) -> bool:
    live = fleet.kube.get("deployment", model.name)
    observed = live["status"].get("observedGeneration") == live["metadata"]["generation"]
    conditions = {each["type"]: each["reason"] for each in live["status"].get("conditions", [])}
    moved_on = live["metadata"]["annotations"]["reranker.dev/revision"] != old
    return moved_on and observed and str(conditions["Progressing"]) == "NewReplicaSetAvailable"


def _stalled(model: Model, reason: str = "GateFailed") -> Object | None:
    found = condition(model.resource(), "Stalled")
    return found if (found["status"], found["reason"]) == ("True", reason) else None
