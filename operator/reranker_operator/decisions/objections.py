"""What speaks against a candidate: that it can't be loaded, ranks badly, comes too late, or finds no room. No I/O."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from reranker_operator.decisions.gate import shown_figures
from reranker_operator.resources.v1alpha1 import RejectedRevision
from reranker_operator.world.fleet import (
    admitted_before,
    answering_clients,
    candidate_status,
    deployed_template,
    deployment,
    good_enough,
    is_young,
    last_manifest,
    making,
    missing,
    observed_conditions,
)
from reranker_operator.world.reports import FAILED, ModelReport
from reranker_operator.world.room import no_room
from reranker_operator.world.state import Pod, World
from reranker_operator.world.trials import Failed, Passed, Undecided

#: Reasons of a failed load that the fetcher goes on with; every other one stays as long as the files do.
MAY_PASS = frozenset(
    {"SourceNotFound", "SourceUnauthorized", "SourceUnreachable", "DiskFull", "DigestMismatch", "NotInCache"}
)
DEADLINE = "ProgressDeadlineExceeded"
#: What a Deployment's condition says from the end of its roll on.
COMPLETE = "NewReplicaSetAvailable"
#: Phases of a candidate that is tried, and of one that was and that no pod tells of just now.
GATING, SILENT = "Gating", "Silent"


def objection(world: World, wanted: str, attempt: str) -> RejectedRevision | None:
    """The first of the reasons against the wanted revision that won't pass by themselves; None where there is none."""
    judged = world.judgement
    if isinstance(judged, Failed):
        figures = shown_figures(judged.figures)
        return RejectedRevision(name=wanted, reason=judged.reason, message=judged.message, attempt=attempt, **figures)
    reasons = [*_failed_loads(world, wanted)]
    if answering_clients(world) or _has_node(world, wanted):  # else the other revision would want for a node as well
        reasons += [*_missed_deadline(world, wanted), *_no_room(world, wanted)]
    found = (RejectedRevision(name=wanted, reason=each, message=message, attempt=attempt) for each, message in reasons)
    return next(found, None)


def _has_node(world: World, wanted: str) -> bool:
    """Whether a pod that is made for a revision, or tells of it, runs: its worker may hang and tell nothing."""
    fleet = making(world, wanted)
    live = deployment(world, fleet) if fleet is not None else None
    template = deployed_template(live) if live is not None else ""
    running = (pod for pod in world.pods if pod.ip and not pod.terminating)
    made = any((pod.fleet, pod.template) == (fleet, template) for pod in running)
    return made or any(report.model(wanted) is not None for report in world.reports.values())


def _failed_loads(world: World, wanted: str) -> Iterator[tuple[str, str]]:
    """Only of a revision that never answered: where it does, one pod's failure is that pod's."""
    if wanted in admitted_before(world):
        return
    for pod in world.pods:
        report = world.report(pod)
        entry = report.model(wanted) if report is not None and not pod.terminating else None
        if entry is not None and entry.phase == FAILED and entry.reason not in MAY_PASS:
            yield entry.reason, f"on pod {pod.name}: {entry.message}"
        elif entry is not None and _in_place(world, wanted):
            yield from _failed_adapters(world, pod, entry)


def _failed_adapters(world: World, pod: Pod, entry: ModelReport) -> Iterator[tuple[str, str]]:
    """An adapter that the fleet relies on and that can't be had with the candidate: neither the wanted nor a former."""
    name = missing(world, world.manifest, pod, entry.revision)
    enough = good_enough(world.manifest.adapters if world.manifest is not None else (), name)
    found = (adapter for adapter in entry.adapters if (adapter.name, adapter.revision) in enough)
    failed = [adapter for adapter in found if adapter.phase == FAILED and adapter.reason not in MAY_PASS]
    if len(failed) == len(enough):
        for adapter in failed[:1]:
            yield adapter.reason, f"adapter {adapter.name} on pod {pod.name}: {adapter.message}"


def _in_place(world: World, wanted: str) -> bool:
    previous = last_manifest(world)
    return previous is not None and wanted in previous.candidates.values()


def _missed_deadline(world: World, wanted: str) -> Iterator[tuple[str, str]]:
    """The Deployment's word on the pods of the wanted revision; what the gate makes them wait for isn't theirs."""
    if _held_by_gate(world) or _lately_held(world, wanted) or _just_admitted(world, wanted):
        return
    if _in_place(world, wanted):
        yield from _no_progress(world, wanted)
    fleet = making(world, wanted)
    live = deployment(world, fleet) if fleet is not None else None
    if live is None:
        return
    for condition in observed_conditions(live):
        if condition["type"] != "Progressing":
            continue
        made = [pod for pod in world.pods if pod.template == deployed_template(live) and not pod.terminating]
        if condition.get("reason") == DEADLINE:
            yield DEADLINE, with_cause(condition.get("message", ""), made)
        elif condition.get("reason") == COMPLETE and wanted not in admitted_before(world):
            yield from _late(world, made)


def _late(world: World, made: Sequence[Pod]) -> Iterator[tuple[str, str]]:
    """Pods that were made as a model woke: its roll was complete without any, and what is complete has no deadline."""
    deadline = world.model.spec.rollout.progress_deadline_seconds
    births = [pod.created for pod in made if pod.created is not None]
    if births and world.now - min(births) >= timedelta(seconds=deadline):
        yield DEADLINE, with_cause(f"no pod got ready in {deadline} s", made)


def _held_by_gate(world: World) -> bool:
    """Whether pods wait for the end of a trial, or for a golden set that is amiss; not where they don't answer it."""
    judged = world.judgement
    return isinstance(judged, Undecided) and (judged.problem is None or judged.problem.stalled)


def _lately_held(world: World, wanted: str) -> bool:
    """Whether the gate held pods until less than the deadline ago: none with the candidate answers just now."""
    candidate = candidate_status(world, wanted)
    if world.judgement is not None or candidate is None:
        return False
    return candidate.phase == GATING or (candidate.phase == SILENT and is_young(world, candidate))


def _just_admitted(world: World, wanted: str) -> bool:
    """Whether pods may answer for less than the deadline: the Deployment's condition may be of the time before."""
    if wanted not in admitted_before(world):
        return isinstance(world.judgement, Passed)
    candidate = candidate_status(world, wanted)
    if candidate is None or candidate.phase == FAILED:
        return False
    # A status that couldn't be written after the admission tells of what was before.
    return is_young(world, candidate) or candidate.phase != "Admitted"


def _no_progress(world: World, wanted: str) -> Iterator[tuple[str, str]]:
    """A candidate that stays at one phase for too long; no Deployment watches over a swap in place."""
    candidate = candidate_status(world, wanted)
    if candidate is None or wanted in admitted_before(world) or is_young(world, candidate):
        return
    words = f": {candidate.message}" if candidate.message else ""
    yield DEADLINE, f"{candidate.phase} for {world.model.spec.rollout.progress_deadline_seconds} s{words}"


def _no_room(world: World, wanted: str) -> Iterator[tuple[str, str]]:
    rule, why = world.model.spec.rollout.on_unschedulable, no_room(world, wanted)
    if rule.action == "Abort" and why:
        yield "Unschedulable", f"there has been no room for {rule.after_seconds} s: {why}"


def with_cause(message: str, pods: Iterable[Pod]) -> str:
    """A deadline's message, with what one of the pods has been waiting for: the Deployment knows only that it waits."""
    cause = next((pod.problem.message for pod in pods if pod.problem is not None), "")
    return f"{message.rstrip('.')}: {cause}" if cause else message
