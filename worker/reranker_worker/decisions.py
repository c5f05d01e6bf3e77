"""What the reconciler does next: a function from what is wanted and what there is to actions. No I/O, no torch."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice

from reranker_worker.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.manifest import AdapterEntry, Manifest, ModelEntry, Source


@dataclass(frozen=True)
class ModelLoad:
    """One try to load a model; a failed one is repeated only when something in it changes."""

    entry: ModelEntry
    digest: str


@dataclass(frozen=True)
class AdapterLoad:
    """One try to load an adapter onto a model; a failed one is repeated only when something in it changes."""

    model: str
    name: str
    revision: str
    source: Source
    digest: str
    max_rank: int


Load = ModelLoad | AdapterLoad


@dataclass(frozen=True)
class Failure:
    """Why a load failed."""

    reason: str
    message: str


@dataclass(frozen=True)
class Served:
    """What the engine answers with, by revision."""

    model: str | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0


@dataclass(frozen=True)
class World:
    """Everything that a decision depends on.

    models: revisions in memory. adapters: (model revision, adapter name, adapter revision) in memory.
    """

    template: str
    manifest: Manifest | None = None
    artifacts: Mapping[Source, ArtifactStatus] = field(default_factory=dict)
    models: AbstractSet[str] = frozenset()
    adapters: AbstractSet[tuple[str, str, str]] = frozenset()
    loading: AbstractSet[Load] = frozenset()
    failures: Mapping[Load, Failure] = field(default_factory=dict)
    served: Served = field(default_factory=Served)


@dataclass(frozen=True)
class Serve:
    """Swap the engine's reference."""

    served: Served


@dataclass(frozen=True)
class DropModel:
    """Forget a model; it is freed with its last request."""

    revision: str


@dataclass(frozen=True)
class DropAdapter:
    """Forget an adapter; it is freed with its last request."""

    model: str
    name: str
    revision: str


Action = Load | Serve | DropModel | DropAdapter


def decide(world: World) -> list[Action]:
    """Return the next actions: flips first, since they cost nothing, then loads, then what can go."""
    if world.manifest is None or (target := world.manifest.target(world.template)) is None:
        return []
    served = _next_served(world, world.manifest, target)
    actions: list[Action] = []
    if served != world.served:
        actions.append(Serve(served))
    actions += _model_load(world, target)
    for model in _models_in_use(target, served):
        if model in world.models:
            actions += _adapter_loads(world, world.manifest, model)
    actions += _drops(world, world.manifest, target, served)
    return actions


def missing_adapters(manifest: Manifest, adapters: Mapping[str, str]) -> list[str]:
    """Return the names whose required entry, or one preferred to it, isn't among `adapters` (name → revision)."""
    missing = []
    for name, entries in adapter_entries(manifest).items():
        last = max((position for position, entry in enumerate(entries) if entry.required), default=None)
        good_enough = {entry.revision for entry in entries[: last + 1]} if last is not None else set()
        if last is not None and adapters.get(name) not in good_enough:
            missing.append(name)
    return missing


def adapter_entries(manifest: Manifest) -> dict[str, list[AdapterEntry]]:
    """Return the entries of each name, in order of preference; of the names the first `maxLoaded`."""
    entries: dict[str, list[AdapterEntry]] = {}
    for entry in manifest.adapters:
        entries.setdefault(entry.name, []).append(entry)
    return dict(islice(entries.items(), manifest.max_loaded))


def model_load(world: World, entry: ModelEntry) -> ModelLoad:
    """Return the try that would load this entry as its artifact is now."""
    return ModelLoad(entry, _artifact(world, entry.source).digest)


def adapter_load(world: World, manifest: Manifest, model: str, entry: AdapterEntry) -> AdapterLoad:
    """Return the try that would load this entry onto a model as its artifact is now."""
    digest = _artifact(world, entry.source).digest
    return AdapterLoad(model, entry.name, entry.revision, entry.source, digest, manifest.max_rank)


def _artifact(world: World, source: Source) -> ArtifactStatus:
    return world.artifacts.get(source, ArtifactStatus())


def _models_in_use(target: ModelEntry, served: Served) -> list[str]:
    """Return the served model and the one that is to follow it, the served one first."""
    return list(dict.fromkeys(revision for revision in (served.model, target.revision) if revision is not None))


def _next_served(world: World, manifest: Manifest, target: ModelEntry) -> Served:
    model = _next_model(world, manifest, target)
    adapters = _next_adapters(world, manifest, model) if model is not None else {}
    return Served(model, adapters, manifest.generation)


def _next_model(world: World, manifest: Manifest, target: ModelEntry) -> str | None:
    """Return the model that answers now: the target once it may, else what answered before while it may."""
    current = world.served.model if world.served.model in manifest.admitted else None
    if target.revision not in manifest.admitted or target.revision not in world.models:
        return current
    if current is None or current == target.revision:
        return target.revision
    # A swap in place must not take adapters away that the fleet relies on.
    return current if missing_adapters(manifest, _next_adapters(world, manifest, target.revision)) else target.revision


def _next_adapters(world: World, manifest: Manifest, model: str) -> dict[str, str]:
    """Return name → revision: the first entry of each name that is loaded.

    While none is, what the name answered with before stays: a client never sees a gap between two revisions.
    """
    chosen = {}
    for name, entries in adapter_entries(manifest).items():
        loaded = (entry.revision for entry in entries if (model, name, entry.revision) in world.adapters)
        before = world.served.adapters.get(name)
        fallback = before if before is not None and (model, name, before) in world.adapters else None
        if (revision := next(loaded, fallback)) is not None:
            chosen[name] = revision
    return chosen


def _model_load(world: World, target: ModelEntry) -> list[Action]:
    if target.revision in world.models or _artifact(world, target.source).phase is not ArtifactPhase.COMPLETE:
        return []
    load = model_load(world, target)
    return [] if load in world.loading or load in world.failures else [load]


def _adapter_loads(world: World, manifest: Manifest, model: str) -> list[Action]:
    """Load, for each name, every entry that is preferred to the one in memory; of several the first to arrive."""
    loads = (_preferred_load(world, manifest, model, entries) for entries in adapter_entries(manifest).values())
    return [load for load in loads if load is not None]


def _preferred_load(world: World, manifest: Manifest, model: str, entries: list[AdapterEntry]) -> AdapterLoad | None:
    for entry in entries:
        if (model, entry.name, entry.revision) in world.adapters:
            return None
        if _artifact(world, entry.source).phase is not ArtifactPhase.COMPLETE:
            continue
        load = adapter_load(world, manifest, model, entry)
        if load in world.loading:
            return None
        if load not in world.failures:
            return load
    return None


def _drops(world: World, manifest: Manifest, target: ModelEntry, served: Served) -> list[Action]:
    """Drop what neither answers nor is about to."""
    models = _models_in_use(target, served)
    drops: list[Action] = [DropModel(revision) for revision in sorted(world.models) if revision not in models]
    kept = {(model, *adapter) for model in models for adapter in _next_adapters(world, manifest, model).items()}
    drops += [DropAdapter(*adapter) for adapter in sorted(world.adapters - kept)]
    return drops
