"""What the demo applies fits restricted pod security, and its patches touch only what they are meant to."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.progress import StepError
from hack.demo import demo, manifests, models, questions
from hack.stage import claims, cluster, objects, serving
from hack.stage.claims import Artifact


@pytest.mark.parametrize(
    "pod", [objects.loader_pod("worker:1"), objects.load_pod("operator:1")], ids=["loader", "load"]
)
def test_pods_fit_restricted_pod_security(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    for container in spec["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_pod_mounts_each_of_its_volumes_once() -> None:
    for pod in (objects.loader_pod("w"), objects.load_pod("o")):
        mounts = [mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
        assert mounts == [volume["name"] for volume in pod["spec"]["volumes"]]


def test_the_adapter_s_patch_leaves_the_model_s_source_alone() -> None:
    patch = manifests.adapter_patch("lora-science", "lora-science", "sha256:0")
    assert patch == {
        "spec": {
            "adapters": [{"name": "lora-science", "source": {"uri": "pvc://models/lora-science", "digest": "sha256:0"}}]
        }
    }


def test_the_source_s_patch_leaves_the_adapters_alone() -> None:
    patch = manifests.source_patch("debian-search-2", "sha256:0")
    assert patch == {"spec": {"source": {"uri": "pvc://models/debian-search-2", "digest": "sha256:0"}}}


def test_pinning_to_a_node_keeps_the_rest_of_the_model() -> None:
    model = {"kind": "RerankerModel", "spec": {"replicas": 2}}
    assert manifests.pinned(model, "node-1") == {
        "kind": "RerankerModel",
        "spec": {"replicas": 2, "nodeSelector": {"kubernetes.io/hostname": "node-1"}},
    }
    assert model["spec"] == {"replicas": 2}


@pytest.mark.parametrize(
    ("reference", "repository", "rest"),
    [
        ("localhost/reranker-worker:3f2a", "localhost/reranker-worker", "worker.image.tag=3f2a"),
        ("registry:5000/worker:1.2", "registry:5000/worker", "worker.image.tag=1.2"),
        ("ghcr.io/x/worker@sha256:00ff", "ghcr.io/x/worker", "worker.image.digest=sha256:00ff"),
    ],
    ids=["tag", "registry with a port", "digest"],
)
def test_an_image_becomes_the_chart_s_values(reference: str, repository: str, rest: str) -> None:
    assert serving.image_values("worker.image", reference) == [
        f"--set-string=worker.image.repository={repository}",
        f"--set-string={rest}",
    ]


def test_the_archive_holds_each_folder_readable_by_any_user(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "config.json").chmod(0o600)
    content = claims.archive([Artifact("one", tmp_path, "sha256:0"), Artifact("two", tmp_path, "sha256:1")])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [(entry.name, entry.mode) for entry in tar] == [("one/config.json", 0o644), ("two/config.json", 0o644)]


@pytest.mark.parametrize(
    ("asked", "kind"), [("", "local"), ("local", "local"), ("existing", "existing"), ("kind", "kind")]
)
def test_the_cluster_follows_the_variable(asked: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", asked)
    assert cluster.chosen() == kind


def test_an_unknown_cluster_is_refused_with_the_ones_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "minikube")
    with pytest.raises(StepError, match=r"local, existing .* or kind"):
        cluster.chosen()


def test_the_digests_cover_all_that_is_copied() -> None:
    digests = json.loads((models.TRAINED / "digests.json").read_text())
    assert digests.keys() == {*models.REVISIONS, *models.ADAPTERS}


def test_the_question_that_is_shown_is_there_and_bm25_does_not_rank_it_first() -> None:
    (shown,) = [q for q in questions.parse(demo.QUESTIONS.read_text()) if q.query == demo.SHOWN]
    assert shown.place > 1
