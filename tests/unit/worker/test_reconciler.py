"""The reconciler's thread side, with an engine whose loads a test holds and fails at will."""

import errno
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reranker_worker.errors import AdapterError, CheckpointError, DeviceFault
from reranker_worker.fetching.artifacts import Completion
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.manifest import Manifest, Source
from reranker_worker.manifest_files import Reading
from reranker_worker.reconciling.reconciler import Reconciler
from reranker_worker.reconciling.state import WorkerState, worker_state
from reranker_worker.serving import EngineSettings, Limits, LoadedAdapter, LoadedModel, ScoreResult, Serving
from tests.fixtures.manifests import adapter, manifest, model


@dataclass
class HeldLoader:
    """Loads whatever it is asked for, once it may."""

    hold: dict[str, threading.Event] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    serving: Serving = field(default_factory=Serving)
    limits: Limits | None = None

    def load_model(self, path: Path, revision: str, settings: EngineSettings) -> LoadedModel:  # noqa: ARG002
        self._load(revision)
        part: Any = SimpleNamespace()
        return LoadedModel(revision, part, part, settings, settings.max_length, "cpu", "float32")

    def load_adapter(
        self,
        model: LoadedModel,  # noqa: ARG002
        path: Path,  # noqa: ARG002
        name: str,
        revision: str,
        max_rank: int,  # noqa: ARG002
    ) -> LoadedAdapter:
        self._load(revision)
        return LoadedAdapter(name, revision, weights=object())

    def serve(self, serving: Serving) -> None:
        self.serving = serving

    def set_limits(self, limits: Limits) -> None:
        self.limits = limits

    def _load(self, revision: str) -> None:
        self.loads.append(revision)
        if revision in self.hold:
            assert self.hold[revision].wait(10)
        if revision in self.errors:
            raise self.errors[revision]


@dataclass
class EditedManifest:
    """A manifest that a test edits."""

    manifest: Manifest

    def read(self) -> Reading:
        return Reading(self.manifest, self.manifest)


@pytest.fixture
def manifests() -> EditedManifest:
    return EditedManifest(manifest())


@pytest.fixture
def reconciler(tmp_path: Path, manifests: EditedManifest) -> Iterator[Reconciler]:
    """Run a reconciler whose cache holds every artifact that the tests name."""
    cache = ArtifactCache(tmp_path / "cache", tmp_path / "run")
    for revision in ("m-1", "m-2", "a-1", "b-1"):
        source = Source(f"pvc://models/{revision}")
        cache.partial(source).mkdir(parents=True)
        cache.publish(source, Completion(source.uri, None, f"sha256:{revision}", {}))
    reconciler = Reconciler(manifests, "t1", cache, HeldLoader())
    stop = threading.Event()
    thread = threading.Thread(target=reconciler.run, args=(stop,))
    thread.start()
    yield reconciler
    stop.set()
    thread.join()


@pytest.fixture
def loader(reconciler: Reconciler) -> HeldLoader:
    assert isinstance(reconciler.loader, HeldLoader)
    return reconciler.loader


def state(reconciler: Reconciler) -> WorkerState:
    return worker_state(reconciler.observation, draining=False)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_slow_model_holds_up_neither_adapters_nor_the_heartbeat(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: state(reconciler).ready)
    loader.hold["m-2"] = threading.Event()
    swap: dict[str, Any] = {"models": [model("m-1"), model("m-2")], "serve": {"t1": "m-2"}, "admitted": ["m-1", "m-2"]}
    manifests.manifest = manifest(2, **swap)
    eventually(lambda: "m-2" in loader.loads)
    manifests.manifest = manifest(3, **swap, adapters=[adapter("a", "a-1")])
    eventually(lambda: "a" in loader.serving.adapters)
    assert reconciler.heartbeat_age_s() < 1
    assert [entry.phase for entry in state(reconciler).models] == ["Loaded", "Loading"]
    loader.hold["m-2"].set()
    eventually(lambda: loader.serving.model is not None and loader.serving.model.revision == "m-2")


def test_a_disk_that_is_away_for_a_moment_ends_nothing(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    eventually(lambda: state(reconciler).ready)
    asked: list[Source] = []

    def away(_: ArtifactCache, source: Source) -> None:
        asked.append(source)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(ArtifactCache, "status", away)
        manifests.manifest = manifest(2, adapters=[adapter("a", "a-1")])
        eventually(lambda: len(asked) > 2)
        assert reconciler.heartbeat_age_s() < 1
    eventually(lambda: "a" in loader.serving.adapters)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(AdapterError("AdapterRankTooHigh", "a-1: rank 128"), "AdapterRankTooHigh", id="refused"),
        pytest.param(KeyError("classifier"), "InvalidAdapter", id="broken in a library"),
    ],
)
def test_a_failed_adapter_leaves_the_others_alone_and_is_tried_once(
    error: Exception, reason: str, reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    loader.errors["a-1"] = error
    entries = [adapter("a", "a-1"), adapter("b", "b-1")]
    manifests.manifest = manifest(2, adapters=entries)
    eventually(lambda: "b" in loader.serving.adapters)
    eventually(lambda: state(reconciler).adapters[0].reason == reason)
    time.sleep(0.2)  # several ticks
    assert loader.loads.count("a-1") == 1
    assert state(reconciler).ready

    del loader.errors["a-1"]
    manifests.manifest = manifest(3, adapters=entries, adapterPolicy={"maxLoaded": 16, "maxRank": 128})
    eventually(lambda: "a" in loader.serving.adapters)


def test_a_failed_model_is_reported_and_what_served_goes_on(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: state(reconciler).ready)
    loader.errors["m-2"] = CheckpointError("MissingHead", "m-2: no classifier in it")
    manifests.manifest = manifest(2, models=[model("m-1"), model("m-2")], serve={"t1": "m-2"}, admitted=["m-1", "m-2"])
    eventually(lambda: state(reconciler).reason == "MissingHead")
    assert state(reconciler).ready
    assert loader.serving.model is not None
    assert loader.serving.model.revision == "m-1"


@pytest.mark.parametrize("lost_by", ["m-2", "a-1"], ids=["model", "adapter"])
def test_a_load_that_lost_the_device_is_no_failure_and_is_left_to_the_next_process(
    lost_by: str, reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: state(reconciler).ready)
    loader.errors[lost_by] = DeviceFault("DeviceFault", "cuda is lost")
    manifests.manifest = manifest(
        2, models=[model("m-1"), model("m-2")], candidates={"t1": "m-2"}, adapters=[adapter("a", "a-1")]
    )
    eventually(lambda: lost_by in loader.loads)
    time.sleep(0.2)  # several ticks
    on_each = 2 if lost_by == "a-1" else 1
    assert loader.loads.count(lost_by) <= on_each
    told = state(reconciler)
    assert "Failed" not in {entry.phase for entry in (*told.models, *told.adapters)}
    assert reconciler.observation.world.failures == {}


def test_what_is_told_to_be_loaded_already_answers(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: state(reconciler).ready)
    manifests.manifest = manifest(2, adapters=[adapter("a", "a-1")])
    while [entry.phase for entry in state(reconciler).adapters] != ["Loaded"]:
        continue
    assert "a" in loader.serving.adapters


def test_limits_take_effect_without_a_load(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: state(reconciler).ready)
    manifests.manifest = manifest(2, limits={"maxBatchTokens": 999, "maxQueueTokens": 9999})
    eventually(lambda: loader.limits == Limits(999, 9999))
    assert loader.loads == ["m-1"]


def test_a_load_waits_for_the_room_of_a_model_that_a_request_still_holds(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: loader.serving.model is not None)
    held = loader.serving.model
    manifests.manifest = manifest(2, models=[model("m-2")], serve={"t1": "m-2"}, admitted=["m-2"])
    eventually(lambda: loader.serving.model is None and reconciler.observation.world.leaving == {"m-1"})
    time.sleep(0.2)  # several ticks
    assert loader.loads == ["m-1"]
    (waiting,) = state(reconciler).models
    assert (waiting.phase, waiting.message) == ("Loading", "waits for the room of m-1, which a request holds")
    del held
    eventually(lambda: loader.serving.model is not None and loader.serving.model.revision == "m-2")
    assert reconciler.observation.world.leaving == frozenset()


def test_a_load_does_not_wait_for_a_model_that_only_garbage_holds(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    eventually(lambda: loader.serving.model is not None)
    garbage: list[object] = [loader.serving.model]
    garbage.append(garbage)
    gc.disable()
    try:
        del garbage
        manifests.manifest = manifest(2, models=[model("m-2")], serve={"t1": "m-2"}, admitted=["m-2"])
        eventually(lambda: loader.serving.model is not None and loader.serving.model.revision == "m-2")
    finally:
        gc.enable()
    assert reconciler.observation.world.leaving == frozenset()


def test_a_candidate_that_fails_is_told_in_its_own_entry_alone(
    reconciler: Reconciler, loader: HeldLoader, manifests: EditedManifest
) -> None:
    loader.errors["m-2"] = CheckpointError("OutOfMemory", "m-2: no room")
    manifests.manifest = manifest(2, models=[model("m-2"), model("m-1")], candidates={"t1": "m-2"})
    eventually(lambda: [entry.reason for entry in state(reconciler).models] == ["OutOfMemory", ""])
    assert (state(reconciler).ready, state(reconciler).reason) == (True, "")
    assert loader.loads == ["m-1", "m-2"]


def test_live_requests_are_kept_for_as_long_as_the_manifest_asks(
    reconciler: Reconciler, manifests: EditedManifest
) -> None:
    def kept() -> int:
        result = ScoreResult([0.9, 0.1], "m-1", None, 42, 1.5, 2.5, 3.5)
        reconciler.samples.offer("q", ["a", "b"], None, result)
        return len(reconciler.samples.after(0))

    eventually(lambda: state(reconciler).ready)
    assert kept() == 0
    manifests.manifest = manifest(2, shadow={"percent": 100})
    eventually(lambda: kept() > 0)
    manifests.manifest = manifest(3)
    eventually(lambda: kept() == 0)
