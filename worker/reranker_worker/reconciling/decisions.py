"""What the reconciler does next: a function from what is wanted and what there is to actions. No I/O, no torch."""

from collections.abc import Mapping
from itertools import islice

from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.manifest import AdapterEntry, Manifest, ModelEntry, Source
from reranker_worker.reconciling.budget import over_budget
from reranker_worker.reconciling.world import (
    Action,
    AdapterLoad,
    Beside,
    DropAdapter,
    DropModel,
    ModelLoad,
    Serve,
    Served,
    World,
)


def decide(world: World) -> list[Action]:
    """Return the next actions: flips first, since they cost nothing, then what can go, and loads once all of it has."""
    if world.manifest is None or (target := world.manifest.target(world.template)) is None:
        return []
    served = _next_served(world, world.manifest, target)
    in_use = models_in_use(world.manifest, world.template, served.model)
    actions: list[Action] = []
    if served != world.served:
        actions.append(Serve(served))
    if drops := _drops(world, world.manifest, in_use):
        return [*actions, *drops]
    actions += _model_loads(world, world.manifest, target)
    for model in in_use:
        if model in world.models:
            actions += _adapter_loads(world, world.manifest, model)
    return actions


def models_in_use(manifest: Manifest, template: str, served: str | None) -> list[str]:
    """Return the revisions that this worker should have: what answers, what is to follow it, and the candidate."""
    entries = (manifest.target(template), manifest.candidate(template))
    revisions = [served, *(entry.revision for entry in entries if entry is not None)]
    return list(dict.fromkeys(revision for revision in revisions if revision is not None))


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


def beyond_budget(world: World, manifest: Manifest, model: str) -> dict[AdapterEntry, str]:
    """Return the entries that may not be loaded onto a model for their size, each with the reason in words."""
    if manifest.max_bytes is None:
        return {}
    sizes = {
        entry: artifact.size
        for entry in manifest.adapters
        if (artifact := _artifact(world, entry.source)).phase is ArtifactPhase.COMPLETE
        and adapter_load(world, manifest, model, entry) not in world.failures
    }
    return over_budget(adapter_entries(manifest).values(), sizes, manifest.max_bytes)


def model_load(world: World, entry: ModelEntry) -> ModelLoad:
    """Return the try that would load this entry as its artifact is now."""
    return ModelLoad(entry, _artifact(world, entry.source).digest)


def adapter_load(world: World, manifest: Manifest, model: str, entry: AdapterEntry) -> AdapterLoad:
    """Return the try that would load this entry onto a model as its artifact is now."""
    digest = _artifact(world, entry.source).digest
    return AdapterLoad(model, entry.name, entry.revision, entry.source, digest, manifest.max_rank)


def _artifact(world: World, source: Source) -> ArtifactStatus:
    return world.artifacts.get(source, ArtifactStatus())


def _next_served(world: World, manifest: Manifest, target: ModelEntry) -> Served:
    model = _next_model(world, manifest, target)
    adapters = _next_adapters(world, manifest, model) if model is not None else {}
    others = {
        other: Beside(_next_adapters(world, manifest, other), other in manifest.admitted)
        for other in models_in_use(manifest, world.template, model)
        if other != model and other in world.models
    }
    return Served(model, adapters, manifest.generation, others, _owners(manifest))


def _owners(manifest: Manifest) -> dict[str, str]:
    return {name: entries[0].owner for name, entries in adapter_entries(manifest).items() if entries[0].owner}


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

    While none is, what the name answered with before stays, if it is the same owner's: a client never sees a gap
    between two revisions, and never another team's weights under a name that has changed hands.
    """
    chosen = {}
    refused = {(entry.name, entry.revision) for entry in beyond_budget(world, manifest, model)}
    in_memory = {(name, revision) for on, name, revision in world.adapters if on == model} - refused
    for name, entries in adapter_entries(manifest).items():
        loaded = (entry.revision for entry in entries if (name, entry.revision) in in_memory)
        same_owner = world.served.owners.get(name, "") == entries[0].owner
        before = world.served.adapters_of(model).get(name) if same_owner else None
        fallback = before if before is not None and (name, before) in in_memory else None
        if (revision := next(loaded, fallback)) is not None:
            chosen[name] = revision
    return chosen


def _model_loads(world: World, manifest: Manifest, target: ModelEntry) -> list[Action]:
    """Load the target, then the candidate: what is only tried never takes the room of what serves.

    Nothing is loaded while a model leaves, or while one loads that may be wanted no more: there may be no room yet, and
    a load that failed isn't tried again.
    """
    if world.leaving or any(isinstance(load, ModelLoad) for load in world.loading):
        return []
    candidate = manifest.candidate(world.template)
    settled = target.revision in world.models or model_load(world, target) in world.failures
    wanted = [target, candidate] if candidate is not None and settled else [target]
    return [model_load(world, entry) for entry in wanted if _is_loadable(world, entry)]


def _is_loadable(world: World, entry: ModelEntry) -> bool:
    if entry.revision in world.models or _artifact(world, entry.source).phase is not ArtifactPhase.COMPLETE:
        return False
    load = model_load(world, entry)
    return load not in world.loading and load not in world.failures


def _adapter_loads(world: World, manifest: Manifest, model: str) -> list[Action]:
    """Load, for each name, every entry that is preferred to the one in memory; of several the first to arrive."""
    refused = beyond_budget(world, manifest, model)
    names = [[entry for entry in entries if entry not in refused] for entries in adapter_entries(manifest).values()]
    loads = (_preferred_load(world, manifest, model, entries) for entries in names)
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


def _drops(world: World, manifest: Manifest, in_use: list[str]) -> list[Action]:
    """Drop what neither answers nor is about to."""
    drops: list[Action] = [DropModel(revision) for revision in sorted(world.models) if revision not in in_use]
    kept = {(model, *adapter) for model in in_use for adapter in _next_adapters(world, manifest, model).items()}
    drops += [DropAdapter(*adapter) for adapter in sorted(world.adapters - kept)]
    return drops
