"""What one package writes, the other reads: the serving manifest, the flags of the pod, names and hashes."""

import json
from typing import Any

import pytest

from reranker_operator.decisions import rollout
from reranker_operator.objects import serving
from reranker_operator.objects.pod_template import pod_template
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.settings import Settings
from reranker_operator.worker_client import live_sample, worker_report
from reranker_operator.world import names
from reranker_operator.world.adapter_resource import adapter_resource
from reranker_operator.world.mounts import NO_MOUNTS, Mounts
from reranker_operator.world.names import Key
from reranker_operator.world.reports import Download as ReadDownload
from reranker_operator.world.reports import PrefetchReport
from reranker_operator.world.state import Model, World
from reranker_operator.world.trials import LiveSample
from reranker_worker import manifest
from reranker_worker.canonical_json import canonical_json
from reranker_worker.fetching.artifacts import Download
from reranker_worker.reconciling.samples import Samples, samples_document
from reranker_worker.reconciling.state import AdapterState, ModelState, PrefetchState, WorkerState
from reranker_worker.serving import ScoreResult
from reranker_worker.settings import FetchSettings, ServeSettings

SPEC = {
    "source": {"uri": "hf://BAAI/bge-reranker-v2-m3", "revision": "953dc6f6", "digest": "sha256:" + "a" * 64},
    "engine": {"dtype": "bfloat16", "maxLength": 1024, "scores": "raw", "maxBatchTokens": 8192},
    "adapters": [
        {"name": "legal", "source": {"uri": "pvc://models/legal"}},
        {"name": "medical", "source": {"uri": "hf://acme/medical", "revision": "v1"}},
    ],
    "adapterPolicy": {"maxLoaded": 4, "maxRank": 8},
    "rollout": {"drainSeconds": 12},
}
TEMPLATE = "t-00000000"
IMAGE = "sha256:" + "0" * 64


def model(**spec: Any) -> Model:
    parsed = RerankerModelSpec.model_validate({**SPEC, **spec})
    return Model(Key("search", "bge"), uid="u", generation=1, resource_version="1", spec=parsed)


def test_the_worker_reads_the_manifest_that_the_operator_writes() -> None:
    world = World(model(), children={})
    wanted = rollout.wanted_model(world.model)
    written = rollout.manifest(world, wanted, TEMPLATE)
    read = manifest.parse_manifest(serving.text(written))

    target = read.target(TEMPLATE)
    assert target is not None
    assert target.revision == wanted.revision
    assert target.source == manifest.Source("hf://BAAI/bge-reranker-v2-m3", "953dc6f6", "sha256:" + "a" * 64)
    assert (target.engine.dtype, target.engine.max_length, target.engine.scores) == ("bfloat16", 1024, "raw")
    assert [(a.name, a.source.uri, a.required) for a in read.adapters] == [
        ("legal", "pvc://models/legal", False),
        ("medical", "hf://acme/medical", False),
    ]
    assert (read.generation, read.served_name) == (1, "BAAI/bge-reranker-v2-m3")
    assert (read.max_loaded, read.max_rank, read.drain_s) == (4, 8, 12)
    assert (read.limits.max_batch_tokens, read.limits.max_queue_tokens) == (8192, 400_000)
    assert manifest.resource_name(target.revision) == "bge"


def test_the_worker_loads_the_candidate_of_a_swap_in_place_beside_what_it_serves() -> None:
    world = World(model(), children={})
    before = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE)
    world = World(model(source={"uri": "pvc://models/next"}), children={}, manifest=before)
    wanted = rollout.wanted_model(world.model)
    read = manifest.parse_manifest(serving.text(rollout.manifest(world, wanted, TEMPLATE)))
    target, candidate = read.target(TEMPLATE), read.candidate(TEMPLATE)
    assert target is not None
    assert candidate is not None
    assert (target.revision, candidate.revision) == (before.serve[TEMPLATE], wanted.revision)


def test_the_worker_knows_when_no_service_leads_to_its_template_any_more() -> None:
    world = World(model(), children={})
    written = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE, parked=("t-11111111",))
    assert manifest.parse_manifest(serving.text(written)).parked == {"t-11111111"}
    assert serving.manifest(serving.text(written)) == written


@pytest.mark.parametrize(("spec", "on"), [({}, False), ({"playground": True}, True)], ids=["off by default", "on"])
def test_the_worker_serves_the_playground_where_the_spec_says_so(spec: dict[str, Any], on: bool) -> None:
    world = World(model(**spec), children={})
    written = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE)
    assert manifest.parse_manifest(serving.text(written)).playground is on
    assert serving.manifest(serving.text(written)) == written
    assert ("playground" in serving.document(written)) is on  # or an upgrade would write every model's manifest


def test_the_operator_reads_the_live_requests_that_the_worker_kept() -> None:
    kept = Samples(lambda: 0.0)
    world = World(model(), children={})
    written = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE, shadow_percent=20)
    kept.ask_for(manifest.parse_manifest(serving.text(written)).shadow_percent)
    kept.offer("q", ["a", "b"], "legal", ScoreResult([0.9, 0.1], "bge-1", "legal-1", 42, 1.5, 2.5, 3.5))
    (told,) = json.loads(samples_document(kept.after(0)))["samples"]
    assert live_sample(told) == LiveSample(1, "bge-1", "legal", "q", ("a", "b"), (0.9, 0.1))


def test_the_worker_reads_whose_an_adapter_is_and_how_many_bytes_all_may_have() -> None:
    resource = adapter_resource(
        {
            "metadata": {
                "namespace": "law",
                "name": "contracts",
                "uid": "u",
                "generation": 1,
                "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "modelRef": {"name": "bge", "namespace": "search"},
                "source": {"uri": "hf://law/contracts", "revision": "v1"},
            },
        }
    )
    policy = {"maxBytes": "3Mi", "allowedNamespaces": ["law"]}
    world = World(model(adapterPolicy=policy), children={}, adapters=(resource,))
    written = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE)
    read = manifest.parse_manifest(serving.text(written))
    assert [(a.name, a.owner) for a in read.adapters] == [
        ("legal", ""),
        ("medical", ""),
        ("contracts", "law/contracts"),
    ]
    assert read.max_bytes == 3 * 2**20
    assert serving.manifest(serving.text(written)) == written


def test_a_manifest_survives_the_way_through_the_api() -> None:
    world = World(model(), children={})
    written = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE)
    assert serving.manifest(serving.text(written)) == written


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The pod's containers by name; the environment is emptied of what would hide a missing flag."""
    for variable in ("HF_ENDPOINT", "HF_TOKEN", "DOCKER_AUTH_CONFIG", "POD_NAME"):
        monkeypatch.delenv(variable, raising=False)
    mounted = Mounts(("models",), f"ghcr.io/acme/bge@{IMAGE}")
    spec = pod_template(model(), TEMPLATE, mounted, Settings(worker_image="worker:1"))["spec"]
    return {container["name"]: container for container in (*spec["initContainers"], *spec["containers"])}


def test_the_worker_takes_the_flags_of_the_pod_that_the_operator_makes(containers: dict[str, Any]) -> None:
    fetch, *fetch_flags = containers["fetcher"]["args"]
    serve, *serve_flags = containers["server"]["args"]
    assert (fetch, serve) == ("fetch", "serve")
    fetcher = FetchSettings(_cli_parse_args=fetch_flags)
    assert (fetcher.template, fetcher.cache_bytes) == (TEMPLATE, (20 << 30) * 99 // 100)
    assert not fetcher.cache_read_only
    settings = ServeSettings(_cli_parse_args=serve_flags)
    assert settings.template == TEMPLATE
    ports = {port["name"]: port["containerPort"] for port in containers["server"]["ports"]}
    assert ports == {"http": settings.port, "internal": settings.internal_port}


def test_the_fetcher_is_told_that_others_fill_its_cache() -> None:
    cache = {"type": "PersistentVolumeClaim", "claimName": "models-disk", "readOnly": True}
    spec = pod_template(model(cache=cache), TEMPLATE, NO_MOUNTS, Settings(worker_image="worker:1"))["spec"]
    _, *flags = spec["initContainers"][0]["args"]
    assert FetchSettings(_cli_parse_args=flags).cache_read_only


@pytest.mark.parametrize("container", ["fetcher", "server"])
def test_every_folder_that_the_worker_uses_is_mounted(containers: dict[str, Any], container: str) -> None:
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in containers[container]["volumeMounts"]}
    settings = FetchSettings(_cli_parse_args=[f"--template={TEMPLATE}"])
    for path in settings.manifest_paths:
        assert mounts[str(path.parent)] is True
    assert mounts[str(settings.cache)] is (container == "server")
    assert mounts[str(settings.run)] is (container == "server")
    assert (str(settings.claims / "models") in mounts) is (container == "fetcher")
    # Both need it, and by the path that the fetcher looks at: what it serves from there are links.
    assert mounts[str(settings.images / IMAGE.removeprefix("sha256:"))] is True


def test_both_packages_write_the_same_canonical_json() -> None:
    document = {"uri": "pvc://models/ü", "digest": None, "nested": [{"b": 1, "a": None}]}
    assert canonical_json(document) == names.canonical(document) == '{"nested":[{"b":1}],"uri":"pvc://models/ü"}'


def test_the_worker_fetches_ahead_what_the_operator_asks_for_and_tells_how_far_it_is() -> None:
    world = World(model(), children={})
    ahead = rollout.wanted_model(model(source={"uri": "pvc://models/next"}))
    written = rollout.manifest(world, rollout.wanted_model(world.model), TEMPLATE, ahead=ahead)
    (entry,) = manifest.parse_manifest(serving.text(written)).prefetched
    assert (entry.revision, entry.source.uri) == (ahead.revision, "pvc://models/next")

    said = PrefetchState(entry.revision, "Failed", "DigestMismatch", "differs")
    told = WorkerState(1, True, False, "", "", prefetch=(said,)).document()
    read = worker_report(json.loads(json.dumps(told)))
    assert read.prefetch == (PrefetchReport(entry.revision, "Failed"),)


def test_the_operator_reads_how_far_a_workers_downloads_are() -> None:
    model_files, adapter_files = Download(1, 10, 2), Download(3, 0, 0)
    legal = AdapterState("Downloading", name="legal", revision="legal-1", download=adapter_files)
    medical = AdapterState("Loaded", "sha256:d", name="medical", revision="medical-1")
    candidate = ModelState("Downloading", revision="bge-1", download=model_files, adapters=(legal,))
    told = WorkerState(7, False, False, "", "", models=(candidate,), adapters=(legal, medical)).document()

    read = worker_report(json.loads(json.dumps(told)))

    assert read.models[0].download == ReadDownload(1, 10, 2)
    assert read.models[0].adapters[0].download == ReadDownload(3, 0, 0)
    assert [adapter.download for adapter in read.adapters] == [ReadDownload(3, 0, 0), None]
    assert "download" not in told["adapters"][1]
