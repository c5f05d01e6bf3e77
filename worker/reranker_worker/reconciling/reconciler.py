"""Brings what the engine serves to what the manifest says: observe, decide, act, on a thread of its own."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import structlog

from reranker_worker.errors import DeviceFault, WorkerError
from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.fetching.cache import ArtifactCache, on_any_disk
from reranker_worker.manifest import Manifest, Source
from reranker_worker.manifest_files import ManifestReader, Reading
from reranker_worker.reconciling.decisions import decide
from reranker_worker.reconciling.leaving import Leaving
from reranker_worker.reconciling.samples import Samples
from reranker_worker.reconciling.state import Observation
from reranker_worker.reconciling.world import (
    Action,
    AdapterLoad,
    DropAdapter,
    DropModel,
    Failure,
    Load,
    ModelLoad,
    Serve,
    Served,
    World,
)
from reranker_worker.serving import EngineSettings, Held, Limits, LoadedAdapter, LoadedModel, Serving

_TICK_S = 0.05

log = structlog.get_logger("reconciler")


class Loader(Protocol):
    """The part of the engine that loads and swaps; `load_*` block and may run on any thread."""

    def load_model(self, path: Path, revision: str, settings: EngineSettings) -> LoadedModel:
        """Load a model and warm it up."""
        ...

    def load_adapter(self, model: LoadedModel, path: Path, name: str, revision: str, max_rank: int) -> LoadedAdapter:
        """Load an adapter for a model and probe it."""
        ...

    def serve(self, serving: Serving) -> None:
        """Swap what is served between two batches."""
        ...

    def set_limits(self, limits: Limits) -> None:
        """Bound batches and queue anew."""
        ...


@dataclass
class Reconciler:
    """Owns what is in memory. Loads run on two threads, so a model's load never holds up an adapter or a flip."""

    manifests: ManifestReader
    template: str
    cache: ArtifactCache
    loader: Loader
    samples: Samples = field(default_factory=Samples)
    observation: Observation = field(init=False)
    _models: dict[str, LoadedModel] = field(init=False, default_factory=dict)
    _leaving: Leaving = field(init=False, default_factory=Leaving)
    _adapters: dict[tuple[str, str, str], LoadedAdapter] = field(init=False, default_factory=dict)
    _loading: dict[Load, Future[LoadedModel] | Future[LoadedAdapter]] = field(init=False, default_factory=dict)
    _failures: dict[Load, Failure] = field(init=False, default_factory=dict)
    _complete: dict[Source, ArtifactStatus] = field(init=False, default_factory=dict)
    _served: Served = field(init=False, default_factory=Served)
    _limits: Limits | None = field(init=False, default=None)
    _beat_s: float = field(init=False, default_factory=time.monotonic)
    _wake: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Prepare the load threads; nothing is observed yet."""
        self.observation = Observation(Reading(), World(self.template))
        self._model_loads = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self._adapter_loads = ThreadPoolExecutor(1, thread_name_prefix="load-adapter")

    def run(self, stop: threading.Event) -> None:
        """Reconcile until told to stop."""
        tick = on_any_disk(self.tick, log)
        while not stop.is_set():
            tick()
            self._wake.wait(_TICK_S)
            self._wake.clear()
        self._model_loads.shutdown(wait=False, cancel_futures=True)
        self._adapter_loads.shutdown(wait=False, cancel_futures=True)

    def tick(self) -> None:
        """Observe, decide and act until nothing is left to do at once."""
        self._beat_s = time.monotonic()
        self._take_in_loads()
        reading = self._read()
        self.samples.ask_for(reading.effective.shadow_percent if reading.effective is not None else 0)
        world = self._world(reading.effective)
        while actions := decide(world):
            for action in actions:
                self._act(action)
            world = self._world(reading.effective)
        # Told only now: what is said to be loaded already answers.
        self.observation = Observation(reading, world)

    def heartbeat_age_s(self) -> float:
        """Return the time since the last tick began."""
        return time.monotonic() - self._beat_s

    def _read(self) -> Reading:
        reading = self.manifests.read()
        if reading.problem and reading.problem != self.observation.reading.problem:
            log.warning("manifest ignored", problem=reading.problem)
        if reading.effective is not None:
            self._follow(reading.effective)
        return reading

    def _world(self, manifest: Manifest | None) -> World:
        return World(
            template=self.template,
            manifest=manifest,
            artifacts=self._artifacts(manifest),
            models=frozenset(self._models),
            adapters=frozenset(self._adapters),
            leaving=frozenset(self._leaving.revisions()),
            loading=frozenset(self._loading),
            failures=dict(self._failures),
            served=self._served,
            max_lengths={revision: model.max_length for revision, model in self._models.items()},
        )

    def _follow(self, manifest: Manifest) -> None:
        if manifest.limits != self._limits:
            self.loader.set_limits(manifest.limits)
            self._limits = manifest.limits
        self._failures = {load: failure for load, failure in self._failures.items() if _is_listed(load, manifest)}

    def _artifacts(self, manifest: Manifest | None) -> Mapping[Source, ArtifactStatus]:
        if manifest is None:
            return {}
        sources = {model.source for model in manifest.models} | {adapter.source for adapter in manifest.adapters}
        # A published artifact never changes, so its COMPLETE is read once and not at every tick.
        self._complete = {source: status for source, status in self._complete.items() if source in sources}
        statuses = {source: self._complete.get(source) or self.cache.status(source) for source in sources}
        self._complete.update(
            {source: status for source, status in statuses.items() if status.phase is ArtifactPhase.COMPLETE}
        )
        return statuses

    def _act(self, action: Action) -> None:
        match action:
            case ModelLoad():
                self._start(action, self._model_loads.submit(self._load_model, action))
            case AdapterLoad():
                self._start(action, self._adapter_loads.submit(self._load_adapter, action, self._models[action.model]))
            case Serve(served):
                self._serve(served)
            case DropModel(revision):
                log.info("model dropped", revision=revision)
                self._leaving.add(self._models.pop(revision))
            case DropAdapter(model, name, revision):
                log.info("adapter dropped", name=name, revision=revision, model=model)
                del self._adapters[model, name, revision]

    def _start(self, load: Load, future: "Future[LoadedModel] | Future[LoadedAdapter]") -> None:
        self._loading[load] = future
        future.add_done_callback(lambda _: self._wake.set())

    def _load_model(self, load: ModelLoad) -> LoadedModel:
        log.info("model load starts", revision=load.entry.revision)
        return self.loader.load_model(self.cache.artifact(load.entry.source), load.entry.revision, load.entry.engine)

    def _load_adapter(self, load: AdapterLoad, model: LoadedModel) -> LoadedAdapter:
        path = self.cache.artifact(load.source)
        return self.loader.load_adapter(model, path, load.name, load.revision, load.max_rank)

    def _take_in_loads(self) -> None:
        for load, future in list(self._loading.items()):
            # A lost device says nothing of the files. Such a load stays one: the process ends, and the next one tries.
            if future.done() and not isinstance(future.exception(), DeviceFault):
                del self._loading[load]
                self._take_in(load, future)

    def _take_in(self, load: Load, future: "Future[LoadedModel] | Future[LoadedAdapter]") -> None:
        match future.exception():
            case None:
                self._keep(load, future.result())
            case WorkerError() as error:
                self._failures[load] = Failure(error.reason, error.message)
                log.warning("load failed", reason=error.reason, message=error.message)
            case error:
                # One entry's files must never end the reconciler, whatever a library makes of them.
                reason = "InvalidCheckpoint" if isinstance(load, ModelLoad) else "InvalidAdapter"
                message = f"{type(error).__name__} while loading; the worker's log has more"
                self._failures[load] = Failure(reason, message)
                log.error("load broke", reason=reason, exc_info=error)

    def _keep(self, load: Load, loaded: LoadedModel | LoadedAdapter) -> None:
        match load, loaded:
            case ModelLoad(entry), LoadedModel():
                self._models[entry.revision] = loaded
                log.info("model loaded", revision=entry.revision, dtype=loaded.dtype)
            case AdapterLoad(model, name, revision), LoadedAdapter():
                self._adapters[model, name, revision] = loaded
                log.info("adapter loaded", name=name, revision=revision, model=model)
            case _:
                raise TypeError(f"{load} returned {type(loaded).__name__}")

    def _serve(self, served: Served) -> None:
        serving = Serving(others=MappingProxyType(self._others(served)))
        if served.model is not None:
            adapters = self._loaded_adapters(served.model, served.adapters)
            serving = replace(serving, model=self._models[served.model], adapters=adapters)
        self.loader.serve(serving)
        if (served.model, served.adapters) != (self._served.model, self._served.adapters):
            log.info("serving", model=served.model, adapters=dict(served.adapters), generation=served.generation)
        self._served = served

    def _others(self, served: Served) -> dict[str, Held]:
        return {
            revision: Held(self._models[revision], self._loaded_adapters(revision, beside.adapters), beside.admitted)
            for revision, beside in served.others.items()
        }

    def _loaded_adapters(self, model: str, adapters: Mapping[str, str]) -> Mapping[str, LoadedAdapter]:
        loaded = {name: self._adapters[model, name, revision] for name, revision in adapters.items()}
        return MappingProxyType(loaded)


def _is_listed(load: Load, manifest: Manifest) -> bool:
    match load:
        case ModelLoad(entry):
            return entry in manifest.models
        case AdapterLoad():
            listed = ((entry.name, entry.revision, entry.source) for entry in manifest.adapters)
            return (load.name, load.revision, load.source) in listed
