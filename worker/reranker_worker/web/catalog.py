"""The names that clients may call, and what each of them means right now. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reranker_worker.errors import InvalidRequest, LoadFailed, NotFound, NotReady
from reranker_worker.manifest import Manifest, ModelEntry, resource_name
from reranker_worker.reconciling.decisions import adapter_entries
from reranker_worker.reconciling.state import adapter_states, failed_target
from reranker_worker.reconciling.world import World
from reranker_worker.serving import Queue

_RETRY_MODEL_S = 5.0
_RETRY_ADAPTER_S = 1.0


@dataclass(frozen=True)
class Resolved:
    """What a request's names stand for: the name to answer with, and the adapter to score with."""

    model: str
    adapter: str | None


def resolve(world: World, model: str | None, adapter: str | None, pin: str | None = None) -> Resolved:
    """Return what is called by `model` (the served or the resource's name, maybe `<name>:<adapter>`) and `adapter`.

    A pinned revision has adapters of its own. Whether it can be had is for the engine to say, which holds it.
    """
    if (manifest := world.manifest) is None:
        raise NotReady("no model is configured yet", retry_after_s=_RETRY_MODEL_S)
    named = _adapter_in_name(manifest, world, model)
    if named is not None and adapter is not None and named != adapter:
        raise InvalidRequest(f"model names the adapter {named!r} and adapter another one", param="adapter")
    adapter = named if named is not None else adapter
    if world.served.model is None:
        raise _not_serving(world)
    if adapter is None:
        return Resolved(manifest.served_name, None)
    loaded = _adapters(world, pin)
    if loaded is not None and adapter not in loaded:
        raise _no_such_adapter(manifest, world, adapter, loaded)
    return Resolved(f"{manifest.served_name}:{adapter}", adapter)


def models_document(world: World, created: int) -> dict[str, Any]:
    """Return the list of models as OpenAI's clients (`data`) and the SIE SDK (`models`) read it."""
    if world.manifest is None:
        return {"object": "list", "data": [], "models": []}
    base = world.manifest.served_name
    data = [_openai_model(base, created, parent=None)]
    data += [_openai_model(f"{base}:{name}", created, parent=base) for name in sorted(world.served.adapters)]
    return {"object": "list", "data": data, "models": [sie_model(world.manifest, world)]}


def infinity_document(world: World, created: int, queue: Queue) -> dict[str, Any]:
    """Return the list of models as Infinity's clients read it: they know no owner but it, and want statistics."""
    stats = {"queue_fraction": queue.tokens / queue.max_tokens, "queue_absolute": queue.pairs}
    own = {"owned_by": "infinity", "backend": "torch", "capabilities": ["rerank"], "stats": stats}
    return {"object": "list", "data": [{**model, **own} for model in models_document(world, created)["data"]]}


def pinnable(world: World) -> list[str]:
    """Return the revisions that a request can name, the one that answers first."""
    served = [world.served.model] if world.served.model is not None else []
    return served + [revision for revision, beside in world.served.others.items() if beside.admitted]


def sie_model(manifest: Manifest, world: World) -> dict[str, Any]:
    """Return one model as the SIE SDK reads it."""
    target = manifest.target(world.template)
    failed = failed_target(world)
    loaded = world.served.model is not None
    return {
        "name": manifest.served_name,
        "inputs": ["text"],
        "outputs": ["score"],
        "dims": {},
        "loaded": loaded,
        "state": "loaded" if loaded else "failed" if failed else "loading",
        "last_error": failed.message if failed and not loaded else None,
        "max_sequence_length": _max_length(world, target),
        "profiles": sorted(world.served.adapters),
    }


def _max_length(world: World, target: ModelEntry | None) -> int | None:
    """Return what the model that answers takes, or, before there is one, what is asked for."""
    asked = target.engine.max_length if target else None
    return world.max_lengths.get(world.served.model or "", asked)


def _adapter_in_name(manifest: Manifest, world: World, model: str | None) -> str | None:
    """Return the adapter in `<model>:<adapter>`, or None for a model's name alone."""
    names = _model_names(manifest, world)
    if model is None or model in names:
        return None
    base, colon, adapter = model.rpartition(":")
    if colon and base in names:
        return adapter
    raise NotFound(f"no model by that name is served here; there is {_listed(names)}", param="model")


def _model_names(manifest: Manifest, world: World) -> Sequence[str]:
    target = manifest.target(world.template)
    return [manifest.served_name, *([resource_name(target.revision)] if target else [])]


def _adapters(world: World, pin: str | None) -> Mapping[str, str] | None:
    """Return the adapters of what is to score, or None where that isn't in memory."""
    if pin is None or pin == world.served.model:
        return world.served.adapters
    return world.served.others[pin].adapters if pin in world.served.others else None


def _not_serving(world: World) -> LoadFailed | NotReady:
    if (failed := failed_target(world)) is not None and failed.digest:
        return LoadFailed("the model can't be loaded; the operator of this service sees why")
    return NotReady("the model isn't ready yet", retry_after_s=_RETRY_MODEL_S)


def _no_such_adapter(manifest: Manifest, world: World, adapter: str, loaded: Mapping[str, str]) -> NotFound | NotReady:
    phases = [item.phase for item in adapter_states(world) if item.name == adapter]
    if adapter in adapter_entries(manifest) and any(phase != "Failed" for phase in phases):
        return NotReady("the adapter isn't loaded yet", retry_after_s=_RETRY_ADAPTER_S)
    there = f"there is {_listed(sorted(loaded))}" if loaded else "there are none"
    return NotFound(f"no adapter by that name is served here; {there}", param="adapter")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in dict.fromkeys(names))


def _openai_model(name: str, created: int, parent: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "reranker", "parent": parent, "root": name}
