"""What live pods say, and which of them are workers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from reranker_operator.handlers import owner_key
from reranker_operator.objects import serving
from reranker_operator.objects.pods import worker_pod
from reranker_operator.world.facts import Problem
from reranker_operator.world.names import Key
from tests.unit.operator.worlds import reread, serving_world

BORN = "2026-03-01T10:00:00Z"
OWNER = {"kind": "ReplicaSet", "name": "bge-6c9f", "uid": "u", "controller": True}


def pod(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    base = {
        "name": "bge-6c9f-x",
        "creationTimestamp": BORN,
        "labels": {"reranker.dev/template": "t-1"},
        "ownerReferences": [OWNER],
    }
    return {"metadata": {**base, **metadata}, "status": {"phase": "Running", **(status or {})}}


def waiting(reason: str, message: str = "", ended: dict[str, Any] | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {"name": "server", "state": {"waiting": {"reason": reason, "message": message}}}
    if ended:
        status["lastState"] = {"terminated": ended}
    return {"containerStatuses": [status]}


def test_a_running_pod_is_read() -> None:
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T10:01:00Z"}]
    found = worker_pod(pod({"podIP": "10.0.0.1", "conditions": conditions}, deletionTimestamp="now"), "bge", BORN)
    assert found is not None
    assert (found.name, found.template, found.ip, found.ready, found.terminating, found.created) == (
        "bge-6c9f-x",
        "t-1",
        "10.0.0.1",
        True,
        True,
        datetime(2026, 3, 1, 10, tzinfo=UTC),
    )
    assert found.ready_since == datetime(2026, 3, 1, 10, 1, tzinfo=UTC)


def test_a_pod_that_is_not_ready_has_been_for_no_time() -> None:
    conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T10:01:00Z"}]
    found = worker_pod(pod({"conditions": conditions}), "bge", BORN)
    assert found is not None
    assert (found.ready, found.ready_since) == (False, None)


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ({}, "10.0.0.1"),
        ({"running": {"startedAt": "now"}}, "10.0.0.1"),
        ({"waiting": {"reason": "ContainerCreating"}}, "10.0.0.1"),
        ({"terminated": {"exitCode": 0}}, ""),
    ],
    ids=["nothing is known of its server", "it runs", "it is made", "it ended"],
)
def test_a_pod_is_asked_at_its_address_when(server: dict[str, Any], address: str) -> None:
    containers = [{"name": "sidecar", "state": {"terminated": {}}}, {"name": "server", "state": server}]
    found = worker_pod(pod({"podIP": "10.0.0.1", "containerStatuses": containers}), "bge", BORN)
    assert found is not None
    assert found.ip == address


OTHERS = {
    "it ended": pod({"phase": "Failed"}),
    "it completed": pod({"phase": "Succeeded"}),
    "a former model of this name had it": pod(creationTimestamp="2026-03-01T09:59:59Z"),
    "nobody made it": pod(ownerReferences=[]),
    "a job made it": pod(ownerReferences=[{**OWNER, "kind": "Job"}]),
    "another model's Deployment made it": pod(ownerReferences=[{**OWNER, "name": "other-6c9f"}]),
}


@pytest.mark.parametrize("live", OTHERS.values(), ids=OTHERS.keys())
def test_a_pod_is_no_worker_when(live: dict[str, Any]) -> None:
    assert worker_pod(live, "bge", BORN) is None


def test_the_manifest_that_a_pod_was_told_is_read_and_rubbish_is_as_none() -> None:
    manifest = serving_world().manifest
    assert manifest is not None
    told = worker_pod(pod(annotations={"reranker.dev/serving-manifest": serving.text(manifest)}), "bge", BORN)
    assert told is not None
    assert told.manifest == manifest == reread(manifest)
    for rubbish in ("", "{}", "[]", "null", "{", '{"generation": []}'):
        found = worker_pod(pod(annotations={"reranker.dev/serving-manifest": rubbish}), "bge", BORN)
        assert found is not None
        assert found.manifest is None


PROBLEMS: dict[str, tuple[dict[str, Any], Problem | None]] = {
    "all is well": ({}, None),
    "it is being made": (waiting("ContainerCreating"), None),
    "the image can't be pulled": (
        waiting("ImagePullBackOff", "Back-off pulling image"),
        Problem("ImagePullBackOff", "pod bge-6c9f-x, container server: Back-off pulling image"),
    ),
    "the first pull failed": (
        waiting("ErrImagePull", "no host"),
        Problem("ErrImagePull", "pod bge-6c9f-x, container server: no host", stalled=False),
    ),
    "the token's Secret is missing": (
        waiting("CreateContainerConfigError", 'secret "hf" not found'),
        Problem("CreateContainerConfigError", 'pod bge-6c9f-x, container server: secret "hf" not found'),
    ),
    "it crashes": (
        waiting("CrashLoopBackOff", "back-off 10s", {"exitCode": 3, "message": "no such device\n"}),
        Problem(
            "CrashLoopBackOff",
            "pod bge-6c9f-x, container server: back-off 10s; it last ended with exit code 3: no such device",
        ),
    ),
    "no node has room": (
        {
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
            ]
        },
        Problem("Unschedulable", "pod bge-6c9f-x: 0/1 nodes", stalled=False),
    ),
    "its volumes aren't mounted": (
        {
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "PodReadyToStartContainers", "status": "False"},
            ]
        },
        Problem(
            "StartingPods",
            "pod bge-6c9f-x has a node, where its volumes (Secret clients, claim models, image hub/bge:1) aren't "
            "mounted or its network isn't set up yet; the Events of the pod say what is amiss",
            stalled=False,
        ),
    ),
    "they are": (
        {
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "PodReadyToStartContainers", "status": "True"},
            ]
        },
        None,
    ),
}
VOLUMES = [
    {"name": "serving", "configMap": {"name": "bge-serving"}},
    {"name": "api-keys", "secret": {"secretName": "clients"}},
    {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
    {"name": "image", "image": {"reference": "hub/bge:1"}},
]


@pytest.mark.parametrize(("status", "problem"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_problems_are_named(status: dict[str, Any], problem: Problem | None) -> None:
    found = worker_pod({**pod(status), "spec": {"volumes": VOLUMES}}, "bge", BORN)
    assert found is not None
    assert found.problem == problem


MODEL_OWNER = {"kind": "RerankerModel", "name": "bge", "uid": "u", "controller": True}
OWNERS: dict[str, tuple[dict[str, Any], Key | None]] = {
    "a child by its controller": ({"ownerReferences": [MODEL_OWNER], "labels": {}}, Key("ns", "bge")),
    "a child whose label was edited": (
        {"ownerReferences": [MODEL_OWNER], "labels": {"reranker.dev/model": "other"}},
        Key("ns", "bge"),
    ),
    "a pod by its label": ({"ownerReferences": [OWNER], "labels": {"reranker.dev/model": "bge"}}, Key("ns", "bge")),
    "a child whose owner was taken away": ({"labels": {"reranker.dev/model": "bge"}}, Key("ns", "bge")),
    "something else": ({"labels": {}}, None),
}


@pytest.mark.parametrize(("metadata", "key"), OWNERS.values(), ids=OWNERS.keys())
def test_an_event_is_about_the_model(metadata: dict[str, Any], key: Key | None) -> None:
    assert owner_key({"metadata": {"namespace": "ns", "name": "x", **metadata}}) == key
