"""A RerankerModel's status: what is true of the fleet, and in words what isn't yet. No I/O."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from reranker_operator.decisions import blue_green, gate
from reranker_operator.decisions.adapters import wanted_adapters
from reranker_operator.decisions.gate import shown_figures
from reranker_operator.decisions.objections import GATING, SILENT
from reranker_operator.objects import autoscaling, routing
from reranker_operator.resources.adapter_types import AdapterStatus
from reranker_operator.resources.v1alpha1 import (
    FleetStatus,
    RerankerModelStatus,
    Revisions,
    RevisionStatus,
)
from reranker_operator.status import progress
from reranker_operator.status.downloads import downloads
from reranker_operator.world import facts, names
from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.facts import ACCESSORY_CONDITIONS, Fact, Problem, timestamp
from reranker_operator.world.fleet import (
    answering_clients,
    deployed_revision,
    deployment,
    failed_adapter,
    last_manifest,
    reached_pods,
)
from reranker_operator.world.names import Document
from reranker_operator.world.reports import FAILED, LOADED
from reranker_operator.world.state import ManifestAdapter, Pod, StoredModel, Target, World
from reranker_operator.world.trials import Failed, Passed, Undecided

PREFETCHING = "Prefetching"
PHASES = ("Pending", "Downloading", "Loading", LOADED)
NO_POD = "no pod answers clients"


def status(world: World, target: Target, now: datetime) -> Document:
    """The whole status; the same document as before as long as nothing changed."""
    model, blocker = world.model, progress.blocker(world, target)
    before = RerankerModelStatus.model_validate(model.status)
    adapters = [adapter_status(world, adapter) for adapter in wanted_adapters(world)]
    accessories = (autoscaling.fact(world), routing.fact(world))
    found = [*_facts(world, target, blocker), _adapters_ready(adapters), *(f for f in accessories if f is not None)]
    whole = RerankerModelStatus(
        observed_generation=model.generation,
        replicas=sum(not pod.terminating and pod.fleet is target.flip.active for pod in world.pods),
        ready_replicas=len(reached_pods(world)),
        selector=names.fleet_selector(model.key.name, target.flip.active),
        endpoint=names.endpoint(model.key.namespace, model.key.name),
        fleet=_fleet(world, target),
        revisions=_revisions(world, target, before.revisions, timestamp(now)),
        downloads=downloads(world, before.downloads or (), now) or None,
        adapters=adapters,
        adapters_ready=f"{sum(map(_complete, adapters))}/{len(adapters)}" if adapters else "",
        conditions=list(facts.conditions(found, model.generation, before.conditions, timestamp(now))),
    )
    return whole.model_dump(by_alias=True, exclude_none=True)


def invalid(model: StoredModel, pods: Sequence[Pod], problem: Problem, now: datetime) -> Document:
    """The status of a model whose spec can't be read: what serves is left alone, and told while a pod is ready."""
    before, generation = RerankerModelStatus.model_validate(model.status), model.generation
    here = Colour(before.fleet.active) if before.fleet is not None else Colour.BLUE
    ready = sum(pod.ready and not pod.terminating and pod.fleet is here for pod in pods)
    stated = [
        Fact("Ready", False, problem.reason, problem.message),
        facts.pace(problem),
        *_availability(before, ready, problem),
    ]
    said = {fact.type for fact in stated}
    kept = [c for c in before.conditions if c.type in {"Available", "AdaptersReady", *ACCESSORY_CONDITIONS} - said]
    whole = before.model_copy(
        update={
            "observed_generation": generation,
            "ready_replicas": min(before.replicas, ready),
            "conditions": [*facts.conditions(stated, generation, before.conditions, timestamp(now)), *kept],
        }
    )
    return whole.model_dump(by_alias=True, exclude_none=True)


def _availability(before: RerankerModelStatus, ready: int, problem: Problem) -> Iterator[Fact]:
    """Whether a model whose spec can't be read answers, where that isn't as the status has it."""
    last = next((each for each in before.conditions if each.type == "Available"), None)
    if not ready and (last is None or last.status == "True"):
        yield Fact("Available", False, problem.reason, NO_POD)
    elif ready and last is not None and last.status == "False":
        yield Fact("Available", True, "Serving", f"{ready} pods answer clients")


def _fleet(world: World, target: Target) -> FleetStatus | None:
    """Which of two fleets clients reach, and what is kept of the other; None as long as there was one only."""
    flip = target.flip
    if flip == Flip():
        return None
    left = deployment(world, flip.active.other)
    until = blue_green.kept_until(world, flip)
    return FleetStatus(
        active=flip.active.value,
        since=timestamp(flip.at) if flip.at is not None else None,
        kept=deployed_revision(left) or None if until is not None else None,
        kept_until=timestamp(until) if until is not None else None,
    )


def _facts(world: World, target: Target, blocker: Problem | None) -> Iterator[Fact]:
    """Ready and Available, and why it isn't Ready."""
    ready, replicas = len(reached_pods(world)), world.model.spec.pods
    if blocker is not None:
        yield Fact("Ready", False, blocker.reason, blocker.message)
    elif replicas == 0:
        yield Fact("Ready", True, "ScaledToZero", "no replicas are wanted and none are left")
    else:
        yield Fact("Ready", True, "Serving", f"all {replicas} pods serve {target.revision}")
    if ready:
        yield Fact("Available", True, "Serving", f"{ready} pods answer clients")
    else:
        # Whatever keeps it from being Ready: nobody is to be woken for a model that is to have no pods.
        reason = blocker.reason if blocker is not None and replicas else "ScaledToZero"
        yield Fact("Available", False, reason, NO_POD)
    if blocker is not None:
        yield facts.pace(blocker)


def _adapters_ready(adapters: Sequence[AdapterStatus]) -> Fact:
    waiting = [adapter for adapter in adapters if not _complete(adapter)]
    failed = next((adapter for adapter in waiting if adapter.reason), None)
    if not adapters:
        return Fact("AdaptersReady", True, "NoAdapters", "the model has no adapters")
    if not waiting:
        return Fact("AdaptersReady", True, "AllLoaded", f"all {len(adapters)} adapters are loaded on every pod")
    if failed is not None:
        return Fact("AdaptersReady", False, failed.reason or FAILED, f"{failed.name}: {failed.message}")
    waits = ", ".join(f"{adapter.name} ({adapter.ready} of {adapter.desired} pods)" for adapter in waiting)
    return Fact("AdaptersReady", False, "Loading", f"not loaded on every pod yet: {waits}")


def _complete(adapter: AdapterStatus) -> bool:
    return adapter.ready == adapter.desired and not adapter.reason


def adapter_status(world: World, adapter: ManifestAdapter) -> AdapterStatus:
    """How far the fleet is with the wanted revision of one adapter."""
    ready = reached_pods(world)
    told, parked = last_manifest(world), {pod.name for pod in blue_green.parked_pods(world)}
    pods = (pod for pod in world.pods if not pod.terminating and pod.name not in parked)
    failed = next((entry for pod in pods if (entry := failed_adapter(world, told, pod, adapter)) is not None), None)
    return AdapterStatus(
        name=adapter.name,
        owner=adapter.owner or None,
        revision=adapter.revision,
        ready=sum(report.has_loaded(adapter.name, adapter.revision) for report in world.reports_of(ready)),
        desired=max(world.model.spec.pods, len(ready)),
        reason=(failed.reason or FAILED) if failed else None,
        message=failed.message if failed else None,
    )


def _revisions(world: World, target: Target, before: Revisions, now: str) -> Revisions:
    name = _serving(world, target, before)
    since = before.serving.since if before.serving is not None and before.serving.name == name else now
    serving = RevisionStatus(name=name, since=since) if name else None
    candidate = None if name == target.revision else _candidate(world, target, before.candidate, now)
    if target.prefetched:
        candidate = _prefetching(target.prefetched, before.candidate, now)
    rejected = [each.model_copy(update={"since": each.since or now}) for each in target.rejections]
    return Revisions(serving=serving, candidate=candidate, rejected=rejected or None)


def _serving(world: World, target: Target, before: Revisions) -> str:
    """The revision that answers, or did last: the wanted one once every ready pod has it, else the commonest other."""
    serving = answering_clients(world)
    if not serving:
        return before.serving.name if before.serving is not None else ""
    barred = {target.revision, target.rejected.name if target.rejected is not None else ""}
    return next((revision for revision in serving if revision not in barred), serving[0])


def _candidate(world: World, target: Target, before: RevisionStatus | None, now: str) -> RevisionStatus:
    if before is not None and before.name != target.revision:
        before = None
    phase, message = _stage(world, target)
    tried = before is not None and before.phase in (GATING, SILENT)
    if tried and target.judgement is None and phase in PHASES and gate.awaited(world):
        phase, message = SILENT, "no pod has it in memory and answers just now"
    return RevisionStatus(
        name=target.revision,
        phase=phase,
        since=before.since if before is not None and before.phase == phase else now,
        message=message,
        strategy=_strategy(world, target, before),
        **_figures(target, before),
    )


def _prefetching(revision: str, before: RevisionStatus | None, now: str) -> RevisionStatus:
    begun = before is not None and (before.name, before.phase) == (revision, PREFETCHING)
    return RevisionStatus(name=revision, phase=PREFETCHING, since=before.since if before and begun else now)


def _strategy(world: World, target: Target, before: RevisionStatus | None) -> str:
    reports = world.reports_of(progress.new_pods(world, target))
    swapping = any(model.serving and model.revision != target.revision for r in reports for model in r.models)
    if swapping or target.revision in target.manifest.candidates.values():
        return "InPlace"
    if target.home is not target.flip.active:
        return "BlueGreen"
    return before.strategy if before is not None and before.strategy else "RollingUpdate"


def _stage(world: World, target: Target) -> tuple[str, str | None]:
    """How far the candidate has come, and in words why no farther."""
    reports = world.reports_of(progress.new_pods(world, target))
    entries = [entry for report in reports if (entry := report.model(target.revision))]
    failed = next((entry for entry in entries if entry.phase == FAILED), None)
    if failed is not None:
        return FAILED, failed.message
    if target.revision in target.manifest.admitted:
        return "Admitted", None
    match target.judgement:
        case Failed(_, message):
            return "Refused", message
        case Undecided(problem):
            return GATING, problem.message if problem is not None else None
    return max((entry.phase for entry in entries if entry.phase in PHASES), key=PHASES.index, default=PHASES[0]), None


def _figures(target: Target, before: RevisionStatus | None) -> dict[str, str | None]:
    """The gate's figures as the status shows them; they stay once the candidate is admitted."""
    if isinstance(target.judgement, Passed | Failed):
        return shown_figures(target.judgement.figures)
    if before is None:
        return {}
    return before.model_dump(include={"ndcg", "rank_correlation", "live_rank_correlation", "p95_milliseconds"})
