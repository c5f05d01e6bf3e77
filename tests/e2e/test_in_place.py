"""Swaps in the pods that serve: by strategy, and where the node has no room for one more."""

import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.kube import eventually
from tests.e2e.load import load

pytestmark = pytest.mark.e2e

#: A resource that the node has one piece of for each replica, as a machine has GPUs.
DEVICE = "reranker.dev/test-device"


def test_an_in_place_swap_replaces_no_pod_and_fails_no_request(fleet: Fleet) -> None:
    adapter = {"name": "legal", "source": {"uri": "pvc://models/lora-1"}}
    model = fleet.model("inplace", "bert-1", replicas=2, rollout={"strategy": "InPlace"}, adapters=[adapter])
    model.wait_ready()
    pods, old = model.pod_uids(), model.rerank().revision
    named = model.status["adapters"][0]["revision"]
    with load(fleet, model, adapter="legal") as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        model.wait_ready()
        new = model.rerank().revision
    history.check(
        {
            (revision, asked): fleet.artifacts.scores(folder, "lora-1" if asked else None)
            for revision, folder in ((old, "bert-1"), (new, "bert-2"))
            for asked in ("", named)
        }
    )
    assert history.revisions == [old, new]
    assert model.pod_uids() == pods


def test_a_roll_without_room_for_one_more_pod_falls_back_to_a_swap_in_place(fleet: Fleet) -> None:
    fleet.offer_device(DEVICE, 1)
    model = fleet.model(
        "roomless",
        "bert-1",
        resources={"limits": {"cpu": "1", DEVICE: "1"}, "requests": {"cpu": "50m"}},
        rollout={"onUnschedulable": {"afterSeconds": 3, "action": "InPlace"}},
    )
    model.wait_ready()
    pods, old = model.pod_uids(), model.rerank().revision
    with load(fleet, model) as history:
        model.patch({"source": {"uri": "pvc://models/bert-2"}})
        model.wait_ready()
        new = model.rerank().revision
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-2")})
    assert model.pod_uids() == pods
    told = eventually(lambda: "NoRoomForPod" in model.kube("get", "events"), what="an Event tells why")
    assert told
