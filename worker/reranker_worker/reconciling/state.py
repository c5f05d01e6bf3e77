"""What a worker says of itself: readiness and the document of `GET /state`. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus, Download
from reranker_worker.manifest import AdapterEntry, Manifest, ModelEntry
from reranker_worker.manifest_files import Reading
from reranker_worker.reconciling.decisions import (
    adapter_entries,
    adapter_load,
    beyond_budget,
    missing_adapters,
    model_load,
    models_in_use,
)
from reranker_worker.reconciling.world import Load, World

Phase = Literal["Pending", "Downloading", "Loading", "Loaded", "Failed"]


# A complete artifact is about to be loaded: the next tick starts it, or starts it after the loads before it.
_PHASES: Mapping[ArtifactPhase, Phase] = {
    ArtifactPhase.PENDING: "Pending",
    ArtifactPhase.DOWNLOADING: "Downloading",
    ArtifactPhase.COMPLETE: "Loading",
    ArtifactPhase.FAILED: "Failed",
}


@dataclass(frozen=True)
class Observation:
    """The reconciler's latest look at the world; readers on other threads only ever see whole ones."""

    reading: Reading
    world: World


@dataclass(frozen=True)
class ItemState:
    """How far one model or adapter is; `download` while its files are on their way."""

    phase: Phase
    digest: str = ""
    reason: str = ""
    message: str = ""
    download: Download | None = None


@dataclass(frozen=True)
class AdapterState(ItemState):
    """An adapter revision as /state tells it."""

    name: str = ""
    revision: str = ""


@dataclass(frozen=True)
class ModelState(ItemState):
    """A model revision as /state tells it, with the adapters on it."""

    revision: str = ""
    admitted: bool = False
    serving: bool = False
    adapters: tuple[AdapterState, ...] = ()


@dataclass(frozen=True)
class PrefetchState:
    """How far the files of a revision are that are fetched ahead."""

    revision: str
    phase: Literal["Pending", "Downloading", "Complete", "Failed"]
    reason: str = ""
    message: str = ""
    download: Download | None = None


@dataclass(frozen=True)
class WorkerState:
    """The document of `GET /state`."""

    observed_generation: int
    ready: bool
    draining: bool
    reason: str
    message: str
    models: tuple[ModelState, ...] = ()
    adapters: tuple[AdapterState, ...] = ()
    prefetch: tuple[PrefetchState, ...] = ()
    template: str = ""
    pod: str = ""
    boot_id: str = field(default="")

    def document(self) -> dict[str, Any]:
        """Return the JSON document of the contract."""
        return {
            "bootId": self.boot_id,
            "pod": self.pod,
            "template": self.template,
            "observedGeneration": self.observed_generation,
            "ready": self.ready,
            "draining": self.draining,
            "reason": self.reason,
            "message": self.message,
            "models": [_document(model) for model in self.models],
            "adapters": [_document(adapter) for adapter in self.adapters],
            "prefetch": [_document(ahead) for ahead in self.prefetch],
        }


def _document(item: ModelState | AdapterState | PrefetchState) -> dict[str, Any]:
    members = asdict(item)
    download = item.download.document() if item.download is not None else None
    adapters = [_document(adapter) for adapter in item.adapters] if isinstance(item, ModelState) else None
    own = {"download": download, "adapters": adapters}
    return {name: value for name, value in {**members, **own}.items() if value is not None}


def worker_state(
    observation: Observation, *, draining: bool, fatal: str = "", pod: str = "", boot_id: str = ""
) -> WorkerState:
    """Return the worker's state; `fatal` says why its device can't score any more."""
    reading, world = observation.reading, observation.world
    models = tuple(model_states(world))
    hindrance = fatal or ("draining" if draining else _hindrance(world))
    reason, message = _headline(reading, world, hindrance)
    return WorkerState(
        observed_generation=reading.observed.generation if reading.observed else 0,
        ready=not hindrance,
        draining=draining,
        reason=reason,
        message=message,
        models=models,
        adapters=tuple(adapter_states(world)),
        prefetch=tuple(prefetch_states(world)),
        template=world.template,
        pod=pod,
        boot_id=boot_id,
    )


def _hindrance(world: World) -> str:
    """Return what keeps this worker from being ready, or "".

    While a swap in place prepares its target, the admitted model before it answers, and the worker stays ready.
    """
    if world.manifest is None:
        return "no manifest knows this worker's template yet"
    if (model := world.served.model) is None:
        target = world.manifest.target(world.template)
        revision = target.revision if target else "the model"
        return f"{revision} isn't admitted yet" if revision in world.models else f"{revision} isn't loaded yet"
    if model not in world.manifest.admitted:
        return f"{model} isn't admitted any more"
    if missing := missing_adapters(world.manifest, world.served.adapters):
        return f"adapters that the fleet has aren't loaded yet: {', '.join(missing)}"
    return ""


def _headline(reading: Reading, world: World, hindrance: str) -> tuple[str, str]:
    if reading.problem:
        return "InvalidManifest", reading.problem
    failed = failed_target(world)
    return (failed.reason, failed.message) if failed else ("", hindrance)


def failed_target(world: World) -> ModelState | None:
    """Return the model that this worker is to serve if it can't; a candidate's failure troubles nobody but itself."""
    if world.manifest is None or (target := world.manifest.target(world.template)) is None:
        return None
    state = _model_state(world, world.manifest, target)
    return state if state.phase == "Failed" else None


def model_states(world: World) -> Iterator[ModelState]:
    """Tell the models that this worker should have: what it serves, what it is to serve, and the candidate."""
    if world.manifest is None:
        return
    in_use = models_in_use(world.manifest, world.template, world.served.model)
    for entry in world.manifest.models:
        if entry.revision in in_use:
            yield _model_state(world, world.manifest, entry)


def _model_state(world: World, manifest: Manifest, entry: ModelEntry) -> ModelState:
    artifact = world.artifacts.get(entry.source, ArtifactStatus())
    load = model_load(world, entry)
    item = _item(world, artifact, load, loaded=entry.revision in world.models)
    if item.phase == "Loading" and load not in world.loading and world.leaving:
        item = replace(item, message=f"waits for the room of {', '.join(sorted(world.leaving))}, which a request holds")
    return ModelState(
        **vars(item),
        revision=entry.revision,
        admitted=entry.revision in manifest.admitted,
        serving=entry.revision == world.served.model,
        adapters=tuple(_adapters_on(world, manifest, entry.revision)),
    )


def prefetch_states(world: World) -> Iterator[PrefetchState]:
    """Tell how far the files are that are fetched ahead for other pods."""
    for entry in world.manifest.prefetched if world.manifest is not None else ():
        artifact = world.artifacts.get(entry.source, ArtifactStatus())
        yield PrefetchState(entry.revision, artifact.phase.value, artifact.reason, artifact.message, artifact.download)


def adapter_states(world: World) -> Iterator[AdapterState]:
    """Tell the adapters on the model that answers, or that is to answer."""
    if world.manifest is not None and (target := world.manifest.target(world.template)) is not None:
        yield from _adapters_on(world, world.manifest, world.served.model or target.revision)


def _adapters_on(world: World, manifest: Manifest, model: str) -> Iterator[AdapterState]:
    """Tell the entries of each name up to the one that is loaded: those after it aren't wanted."""
    within = adapter_entries(manifest)
    too_large = beyond_budget(world, manifest, model)
    settled: set[str] = set()
    for entry in manifest.adapters:
        if entry.name not in within:
            yield _too_many(manifest, entry)
        elif entry in too_large and entry.name not in settled:
            digest, message = world.artifacts[entry.source].digest, too_large[entry]
            yield AdapterState(
                "Failed", digest, "AdapterBudgetExceeded", message, name=entry.name, revision=entry.revision
            )
        elif entry.name not in settled:
            state = _adapter_state(world, manifest, model, entry)
            if state.phase == "Loaded":
                settled.add(entry.name)
            yield state


def _adapter_state(world: World, manifest: Manifest, model: str, entry: AdapterEntry) -> AdapterState:
    artifact = world.artifacts.get(entry.source, ArtifactStatus())
    load = adapter_load(world, manifest, model, entry)
    item = _item(world, artifact, load, loaded=(model, entry.name, entry.revision) in world.adapters)
    return AdapterState(**vars(item), name=entry.name, revision=entry.revision)


def _too_many(manifest: Manifest, entry: AdapterEntry) -> AdapterState:
    limit = manifest.max_loaded
    message = f"adapter {entry.name}: {limit} others stand before it, and adapterPolicy.maxLoaded is {limit}"
    return AdapterState("Failed", reason="TooManyAdapters", message=message, name=entry.name, revision=entry.revision)


def _item(world: World, artifact: ArtifactStatus, load: Load, *, loaded: bool) -> ItemState:
    if loaded:
        return ItemState("Loaded", artifact.digest)
    if load in world.loading:
        return ItemState("Loading", artifact.digest)
    if (failure := world.failures.get(load)) is not None:
        return ItemState("Failed", artifact.digest, failure.reason, failure.message)
    return ItemState(_PHASES[artifact.phase], artifact.digest, artifact.reason, artifact.message, artifact.download)
