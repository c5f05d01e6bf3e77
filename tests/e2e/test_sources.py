"""A model from a bucket, its cache shared by two replicas, and their next start without the network."""

from pathlib import Path

import pytest

from reranker_worker.fetching.artifacts import artifact_digest
from reranker_worker.fetching.cache import served_files
from tests.e2e import storage
from tests.e2e.conftest import copy_into_claim
from tests.e2e.fleet import Fleet
from tests.e2e.kube import eventually, stated

pytestmark = pytest.mark.e2e

TOLERANCE = 1e-3  # fp32 on both sides; JSON and kernels differ in the last digits


@pytest.fixture(scope="module")
def bucket(installed: Fleet, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An S3 server with the bucket `models`, a Secret `s3` for it, and a claim for caches."""
    folder = tmp_path_factory.mktemp("claim")
    storage.lay_out(folder, installed.artifacts["bert-1"])
    copy_into_claim(installed.kube, Path(folder))
    image = installed.kube.get("pod", "client")["spec"]["containers"][0]["image"]
    installed.kube.apply(*storage.server(image), storage.cache_claim())
    installed.kube("wait", "pod", storage.NAME, "--for=condition=Ready", "--timeout=120s")
    return "s3://models/bert-1"


def test_a_bucket_whose_files_are_others_than_the_digest_says_is_told_with_both_digests(
    fleet: Fleet, bucket: str
) -> None:
    wrong = "sha256:" + "0" * 64
    source = {"uri": bucket, "digest": wrong, "secretRef": {"name": storage.NAME}}
    model = fleet.model("differing", "", source=source)
    stalled = eventually(lambda: stated(model.resource(), "Stalled"), what="Stalled")
    assert stalled["reason"] == "DigestMismatch"
    assert wrong in stalled["message"]
    assert artifact_digest(served_files(fleet.artifacts["bert-1"])) in stalled["message"]


def test_pods_share_what_one_of_them_fetched_from_a_bucket_and_start_again_without_it(
    fleet: Fleet, bucket: str
) -> None:
    digest = artifact_digest(served_files(fleet.artifacts["bert-1"]))
    source = {"uri": bucket, "digest": digest, "secretRef": {"name": storage.NAME}}
    cache = {"type": "PersistentVolumeClaim", "claimName": storage.CACHE, "size": "100M"}
    model = fleet.model("bucketed", "", source=source, cache=cache, replicas=2)
    model.wait_ready()
    expected = pytest.approx(fleet.artifacts.scores("bert-1"), abs=TOLERANCE)
    for address in model.pod_addresses():
        assert fleet.client.rerank(address).scores == expected

    fleet.kube("delete", "pod", storage.NAME)
    first = model.pod_uids()
    fleet.kube("delete", "pod", "-l", f"reranker.dev/model={model.name}", "--wait=false")
    eventually(lambda: len(model.pods()) == 2 and not set(first) & set(model.pod_uids()), what="new pods")
    model.wait_ready()
    for address in model.pod_addresses():
        assert fleet.client.rerank(address).scores == expected

    reader = fleet.model("reading", "", source=source, cache={**cache, "readOnly": True})
    reader.wait_ready()
    assert reader.rerank().scores == expected
    reader.patch({"source": {"uri": "pvc://models/bert-2", "digest": None, "secretRef": None}})
    stalled = eventually(lambda: stated(reader.resource(), "Stalled"), what="Stalled")
    assert stalled["reason"] == "NotInCache"
    assert reader.rerank().scores == expected
