"""Reading the serving manifest: what is accepted, what is refused, and which of two files counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from reranker_worker.errors import ManifestError
from reranker_worker.fetching.artifacts import artifact_key
from reranker_worker.manifest import Source, newest, parse_manifest, resource_name
from reranker_worker.manifest_files import ManifestFiles
from tests.fixtures.manifests import adapter, document, manifest, model, write_manifest


def test_the_document_of_the_contract_is_read_whole() -> None:
    text = """
    {"generation": 7, "servedName": "BAAI/bge-reranker-v2-m3",
     "models": [{"revision": "bge-v2-m3-5f2c9a1e",
                 "source": {"uri": "hf://BAAI/bge-reranker-v2-m3", "revision": "953dc6f6"},
                 "engine": {"dtype": "auto", "maxLength": 512, "scores": "sigmoid"}},
                {"revision": "bge-v2-m3-0a1b2c3d", "source": {"uri": "pvc://models/tuned"}}],
     "serve": {"t-91b0d3c7": "bge-v2-m3-5f2c9a1e"},
     "candidates": {"t-91b0d3c7": "bge-v2-m3-0a1b2c3d"},
     "admitted": ["bge-v2-m3-5f2c9a1e"],
     "adapters": [{"name": "legal", "revision": "legal-0c11d2aa",
                   "source": {"uri": "pvc://models/legal"}, "required": true}],
     "adapterPolicy": {"maxLoaded": 16, "maxRank": 64},
     "limits": {"maxBatchTokens": 16384, "maxQueueTokens": 400000},
     "drainSeconds": 30}
    """
    read = parse_manifest(text)
    target = read.target("t-91b0d3c7")
    assert target is not None
    assert (target.revision, target.source.revision, target.engine.max_length) == (
        "bge-v2-m3-5f2c9a1e",
        "953dc6f6",
        512,
    )
    candidate = read.candidate("t-91b0d3c7")
    assert candidate is not None
    assert candidate.revision == "bge-v2-m3-0a1b2c3d"
    assert read.adapters[0].required
    assert (read.limits.max_batch_tokens, read.max_rank, read.drain_s) == (16384, 64, 30)
    assert read.target("t-other") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"generation": -1}, "generation", id="negative generation"),
        pytest.param({"models": []}, "models", id="no models"),
        pytest.param({"serve": {"t1": "m-9"}}, "m-9, which isn't one of models", id="unknown revision served"),
        pytest.param({"candidates": {"t1": "m-9"}}, "candidates.t1 names m-9", id="unknown candidate"),
        pytest.param({"models": [model("m-1", maxLength=0)]}, "models.0.engine.maxLength", id="length of 0"),
        pytest.param({"models": [model("m-1", scores="softmax")]}, "models.0.engine.scores", id="unknown activation"),
        pytest.param({"adapters": [adapter("../x", "x-1")]}, "adapters.0.name", id="a name with slashes"),
        pytest.param({"drainSeconds": 1e9}, "drainSeconds", id="endless drain"),
        pytest.param({"servedName": None}, "servedName", id="no name"),
    ],
)
def test_a_wrong_member_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(json.dumps(document(**change)))
    assert caught.value.reason == "InvalidManifest"
    assert said in caught.value.message


def test_members_of_a_newer_operator_are_ignored() -> None:
    assert parse_manifest(json.dumps(document(7, futureFeature={"a": 1}))).generation == 7


def test_the_higher_generation_counts_and_of_equal_ones_the_first() -> None:
    first, second = manifest(3, servedName="first"), manifest(3, servedName="second")
    assert newest([manifest(2), first, second]) is first
    assert newest([]) is None


def test_the_resource_is_named_by_the_revision() -> None:
    assert resource_name("bge-v2-m3-5f2c9a1e") == "bge-v2-m3"


def test_an_artifact_key_leaves_absent_members_out() -> None:
    bare = Source("hf://a/b")
    assert artifact_key(bare) == "f372a642e7ce456c70119456a854d487"  # printf '{"uri":"hf://a/b"}' | sha256sum
    assert (
        len({artifact_key(bare), artifact_key(Source("hf://a/b", "v1")), artifact_key(Source("hf://a/b", "v2"))}) == 3
    )


@pytest.fixture
def files(tmp_path: Path) -> ManifestFiles:
    return ManifestFiles((tmp_path / "serving" / "manifest.json", tmp_path / "podinfo" / "serving-manifest"), "t1")


def test_the_file_with_the_higher_generation_wins(files: ManifestFiles) -> None:
    configmap, podinfo = files.paths
    write_manifest(configmap, document(3))
    write_manifest(podinfo, document(5))
    assert (observed := files.read().observed) is not None
    assert observed.generation == 5
    write_manifest(configmap, document(6))
    assert (observed := files.read().observed) is not None
    assert observed.generation == 6


def test_a_generation_that_was_read_is_never_left_for_a_lower_one(files: ManifestFiles) -> None:
    configmap, podinfo = files.paths
    write_manifest(configmap, document(3))
    write_manifest(podinfo, document(5))
    files.read()
    podinfo.unlink()
    assert (observed := files.read().observed) is not None
    assert observed.generation == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "", id="the annotation is absent"),
        pytest.param("{", "serving-manifest: serving manifest: document", id="not JSON"),
        pytest.param('{"generation": 9}', "serving-manifest: serving manifest: servedName", id="members missing"),
    ],
)
def test_an_unreadable_file_is_reported_and_ignored(text: str, problem: str, files: ManifestFiles) -> None:
    configmap, podinfo = files.paths
    write_manifest(configmap, document(3))
    write_manifest(podinfo, text)
    reading = files.read()
    assert reading.observed is not None
    assert reading.observed.generation == 3
    assert reading.problem.startswith(problem)
    assert bool(reading.problem) == bool(problem)


def test_a_manifest_without_this_template_is_observed_and_changes_nothing(files: ManifestFiles) -> None:
    write_manifest(files.paths[0], document(3))
    files.read()
    write_manifest(files.paths[1], document(4, serve={"t2": "m-1"}))
    reading = files.read()
    assert (reading.observed, reading.effective) == (manifest(4, serve={"t2": "m-1"}), manifest(3))
    assert ManifestFiles(files.paths, "t1").read() == reading  # a pod that starts now reads the same
