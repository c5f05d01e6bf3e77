"""Zero failed requests through every kind of change, with the content of each answer checked."""

import subprocess
import sys

import pytest

from hack.repository import ROOT
from tests.e2e.fleet import Fleet
from tests.e2e.kube import eventually
from tests.e2e.load import load

pytestmark = pytest.mark.e2e


def source(folder: str) -> dict[str, object]:
    return {"source": {"uri": f"pvc://models/{folder}"}}


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_model_swap_fails_no_request_and_each_answer_is_of_the_revision_it_states(
    fleet: Fleet, replicas: int
) -> None:
    model = fleet.model(f"swapped-{replicas}", "bert-1", replicas=replicas)
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        model.patch(source("bert-2"))
        model.wait_ready()
        new = model.rerank().revision
        eventually(lambda: len(model.pods()) == replicas, what="the old pods are gone")
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-2")})
    assert history.revisions == [old, new]


def test_adapters_change_under_load_without_a_failed_or_mixed_answer(fleet: Fleet) -> None:
    model = fleet.model("adapting", "bert-1", replicas=2, adapters=[{"name": "legal", **source("lora-1")}])
    model.wait_ready()
    pods = model.pod_uids()
    base = model.rerank().revision
    known = {(base, ""): fleet.artifacts.scores("bert-1")}
    with load(fleet, model, adapter="legal") as history:
        for folder in ("lora-1", "lora-2", "lora-1"):
            model.patch({"adapters": [{"name": "legal", **source(folder)}]})
            model.wait_ready()
            (status,) = model.status["adapters"]
            known[base, status["revision"]] = fleet.artifacts.scores("bert-1", folder)
    history.check(known)
    assert {row["adapter"] for row in history.rows} == {adapter for _, adapter in known}
    assert model.pod_uids() == pods


def test_a_model_swap_keeps_the_adapter_on_every_pod(fleet: Fleet) -> None:
    model = fleet.model("both", "bert-1", replicas=2, adapters=[{"name": "legal", **source("lora-1")}])
    model.wait_ready()
    old, adapter = model.rerank().revision, model.status["adapters"][0]["revision"]
    with load(fleet, model, adapter="legal") as history:
        model.patch(source("bert-2"))
        model.wait_ready()
        new = model.rerank().revision
        eventually(lambda: len(model.pods()) == 2, what="the old pods are gone")
    history.check(
        {
            (revision, named): fleet.artifacts.scores(folder, "lora-1" if named else None)
            for revision, folder in ((old, "bert-1"), (new, "bert-2"))
            for named in ("", adapter)
        }
    )


def test_of_two_edits_in_quick_succession_the_middle_revision_never_answers(fleet: Fleet) -> None:
    model = fleet.model("hasty", "bert-1")
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        model.patch(source("bert-2"))
        model.patch(source("bert-3"))
        model.wait_ready()
        new = model.rerank().revision
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-3")})


def test_a_deleted_pod_drains_without_a_failed_request(fleet: Fleet) -> None:
    model = fleet.model("drained", "bert-1", replicas=2)
    model.wait_ready()
    with load(fleet, model) as history:
        first, *_ = model.pods()
        model.kube("delete", "pod", first["metadata"]["name"])
        model.wait_ready()
    history.check({(model.rerank().revision, ""): fleet.artifacts.scores("bert-1")})


def test_scaling_down_under_load_fails_no_request(fleet: Fleet) -> None:
    model = fleet.model("shrunk", "bert-1", replicas=2)
    model.wait_ready()
    with load(fleet, model) as history:
        model.patch({"replicas": 1})
        eventually(lambda: len(model.kube.items("pod", "reranker.dev/model=shrunk")) == 1, what="one pod is left")
    history.check({(model.rerank().revision, ""): fleet.artifacts.scores("bert-1")})


def test_a_swap_goes_on_after_the_api_server_and_the_operator_were_away(fleet: Fleet) -> None:
    model = fleet.model("outage", "bert-1", replicas=2)
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        with fleet.operator_down():
            model.patch(source("bert-2"))
            for verb in ("stop", "start"):
                subprocess.run([sys.executable, "-m", "hack.cluster", verb, "kube-apiserver"], cwd=ROOT, check=True)
        model.wait_ready()
        new = model.rerank().revision
        eventually(lambda: len(model.pods()) == 2, what="the old pods are gone")
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-2")})
