"""A second fleet takes over by one turn of the Service, and the first one takes back while it is kept."""

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import eventually
from tests.e2e.load import History, load

pytestmark = pytest.mark.e2e


def blue_green(keep_s: int) -> dict[str, object]:
    return {"strategy": "BlueGreen", "blueGreen": {"keepSeconds": keep_s}}


def check(history: History, fleet: Fleet, old: str, new: str, adapter: str) -> None:
    """Fail unless every answer is the old or the new revision's, on the model alone or with its adapter."""
    history.check(
        {
            (revision, named): fleet.artifacts.scores(folder, "lora-1" if named else None)
            for revision, folder in ((old, "bert-1"), (new, "bert-2"))
            for named in ("", adapter)
        }
    )


def serve(fleet: Fleet, name: str, keep_s: int) -> Model:
    adapter = {"name": "legal", "source": {"uri": "pvc://models/lora-1"}}
    model = fleet.model(name, "bert-1", replicas=2, rollout=blue_green(keep_s), adapters=[adapter])
    model.wait_ready()
    return model


def test_a_second_fleet_takes_over_and_back_without_a_failed_request_or_a_new_pod(fleet: Fleet) -> None:
    model = serve(fleet, "bluegreen", keep_s=300)
    first, old, adapter = model.pod_uids(), model.rerank().revision, model.status["adapters"][0]["revision"]
    with load(fleet, model, adapter="legal") as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        model.wait_ready()
        new = model.rerank().revision
    check(history, fleet, old, new, adapter)
    assert history.revisions == [old, new]
    both = model.pod_uids()
    assert set(first) < set(both)
    assert (len(both), model.status["fleet"]["active"], model.status["fleet"]["kept"]) == (4, "green", old)

    with load(fleet, model, adapter="legal") as history:
        model.patch({"source": {"uri": "pvc://models/bert-1"}})
        model.wait_ready()
        assert model.rerank().revision == old
    check(history, fleet, old, new, adapter)
    assert history.revisions == [new, old]
    assert model.pod_uids() == both


def test_the_old_fleet_drains_and_goes_without_a_failed_request(fleet: Fleet) -> None:
    model = serve(fleet, "shortkept", keep_s=0)
    old, adapter = model.rerank().revision, model.status["adapters"][0]["revision"]
    with load(fleet, model, adapter="legal") as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        model.wait_ready()
        new = model.rerank().revision
        eventually(lambda: len(model.kube.items("pod", f"reranker.dev/model={model.name}")) == 2, what="old pods end")
    check(history, fleet, old, new, adapter)
    assert history.revisions == [old, new]
