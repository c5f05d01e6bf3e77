"""A candidate that loads well and ranks badly answers nobody, and goes by itself."""

import json

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import Object, condition, eventually
from tests.e2e.load import load
from tests.fixtures.known_models import DOCUMENTS, QUERY

pytestmark = pytest.mark.e2e


def golden_set(fleet: Fleet) -> Object:
    """Return a ConfigMap with one question, judged as bert-1 ranks it: any other model ranks worse."""
    scores = fleet.artifacts.scores("bert-1")
    relevance = [sorted(scores).index(score) for score in scores]
    line = json.dumps({"query": QUERY, "documents": list(DOCUMENTS), "relevance": relevance})
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


def _stalled(model: Model) -> Object | None:
    found = condition(model.resource(), "Stalled")
    return found if (found["status"], found["reason"]) == ("True", "GateFailed") else None
