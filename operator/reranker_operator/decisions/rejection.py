"""Which revisions were tried and may not serve, and what serves in place of a wanted one that was rejected. No I/O.

What is rejected stands in the status, so that it is tried again only under another spec, whoever restarts. Only where
another revision serves, or did last, is one rejected: the first revision ever has nothing to go back to, stays Stalled.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from reranker_operator.decisions.gate import shown_figures
from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.resources.v1alpha1 import (
    RejectedRevision,
    RerankerModelSpec,
    RerankerModelStatus,
    RevisionStatus,
)
from reranker_operator.world import names
from reranker_operator.world.fleet import (
    active,
    admitted_before,
    answered_last,
    deployed_revision,
    deployed_template,
    deployment,
    good_enough,
    known_manifests,
    known_models,
    making,
    missing,
    no_room,
    observed_conditions,
    ready_pods,
)
from reranker_operator.world.names import Document
from reranker_operator.world.reports import ModelReport
from reranker_operator.world.state import ManifestModel, Pod, World
from reranker_operator.world.trials import Passed, Refused, Undecided

#: How many are remembered.
MOST = 10

#: Reasons of a failed load that the fetcher goes on with; every other one stays as long as the files do.
MAY_PASS = frozenset(
    {"SourceNotFound", "SourceUnauthorized", "SourceUnreachable", "DiskFull", "DigestMismatch", "NotInCache"}
)
DEADLINE = "ProgressDeadlineExceeded"
#: What a Deployment's condition says from the end of its roll on.
COMPLETE = "NewReplicaSetAvailable"
#: Phases of a candidate that is tried, and of one that was and that no pod tells of just now.
GATING, SILENT = "Gating", "Silent"


def rejections(world: World) -> tuple[RejectedRevision, ...]:
    """Revisions that were rejected, the last one last; `since` is None for one that is rejected only now."""
    wanted, now = wanted_model(world.model).revision, attempt(world.model.spec)
    listed = RerankerModelStatus.model_validate(world.model.status).revisions.rejected or ()
    kept = [
        each for each in listed if each.name != wanted or each.gate == now
    ]  # another try leaves the last one behind
    order = (*_answering(world), answered_last(world))
    if all(each.name != wanted for each in kept) and _fallback(world, wanted, kept, order) is not None:
        kept += _found(world, wanted, now)
    return tuple(kept[-MOST:])


def stands(world: World) -> bool:
    """Whether the wanted revision was rejected before now, so that it isn't judged again."""
    return replacement(world, [each for each in rejections(world) if each.since is not None]) is not None


def replacement(world: World, rejected: Iterable[RejectedRevision]) -> ManifestModel | None:
    """What the fleet goes back to, or stays with, while the wanted revision is rejected; None where that isn't so."""
    wanted = wanted_model(world.model).revision
    listed = list(rejected)
    if all(each.name != wanted for each in listed):
        return None
    # What new pods are made for comes first: once the way back has begun, it ends where it leads.
    made = deployed_revision(deployment(world, active(world)))
    order = (made, *_answering(world), answered_last(world))
    return _fallback(world, wanted, listed, order)


def attempt(spec: RerankerModelSpec) -> str:
    """What tells one try of a revision from another: the gate, and what its pods are given."""
    told = spec.model_dump(
        by_alias=True, exclude_none=True, include={"resources", "node_selector", "tolerations", "cache"}
    )
    rollout = spec.rollout.model_dump(by_alias=True, exclude_none=True, include={"gate", "progress_deadline_seconds"})
    return names.hash8({**told, **rollout, "secretRef": spec.source.secret_ref and spec.source.secret_ref.name})


def _answering(world: World) -> list[str]:
    """Revisions that answer clients on a ready pod, the commonest first."""
    reports = [report for pod in ready_pods(world) if (report := world.report(pod)) is not None]
    serving = Counter(m.revision for report in reports for m in report.models if m.serving and m.admitted)
    return [revision for revision, _ in serving.most_common()]


def _fallback(
    world: World, wanted: str, rejected: Iterable[RejectedRevision], order: Iterable[str]
) -> ManifestModel | None:
    barred = {wanted, *(each.name for each in rejected)}
    known, may_answer = known_models(world), admitted_before(world)
    possible = (revision for revision in order if revision in known and revision in may_answer - barred)
    return next((known[revision] for revision in possible), None)


def _found(world: World, wanted: str, now: str) -> Iterator[RejectedRevision]:
    """The first of the reasons against the wanted revision that won't pass by themselves."""
    if isinstance(world.judgement, Refused):
        judged = world.judgement
        figures = shown_figures(judged.figures)
        yield RejectedRevision(name=wanted, reason=judged.reason, message=judged.message, gate=now, **figures)
        return
    reasons = [*_failed_loads(world, wanted)]
    if _answering(world) or _has_node(world, wanted):  # else the other revision would want for a node as well
        reasons += [*_missed_deadline(world, wanted), *_no_room(world, wanted)]
    for reason, message in reasons[:1]:
        yield RejectedRevision(name=wanted, reason=reason, message=message, gate=now)


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
        if entry is not None and entry.phase == "Failed" and entry.reason not in MAY_PASS:
            yield entry.reason, f"on pod {pod.name}: {entry.message}"
        elif entry is not None and _in_place(world, wanted):
            yield from _failed_adapters(world, pod, entry)


def _failed_adapters(world: World, pod: Pod, entry: ModelReport) -> Iterator[tuple[str, str]]:
    """An adapter that the fleet relies on and that can't be had with the candidate: neither the wanted nor a former."""
    name = missing(world, world.manifest, pod, entry.revision)
    enough = good_enough(world.manifest.adapters if world.manifest is not None else (), name)
    found = (adapter for adapter in entry.adapters if (adapter.name, adapter.revision) in enough)
    failed = [adapter for adapter in found if adapter.phase == "Failed" and adapter.reason not in MAY_PASS]
    if len(failed) == len(enough):
        for adapter in failed[:1]:
            yield adapter.reason, f"adapter {adapter.name} on pod {pod.name}: {adapter.message}"


def _in_place(world: World, wanted: str) -> bool:
    previous = next(known_manifests(world), None)
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
        if condition["type"] == "Progressing" and condition.get("reason") == DEADLINE:
            yield DEADLINE, condition.get("message", "")
        elif condition["type"] == "Progressing" and condition.get("reason") == COMPLETE:
            yield from _late_pods(world, wanted, live)


def _late_pods(world: World, wanted: str, live: Document) -> Iterator[tuple[str, str]]:
    """Pods that were made as a model woke: its roll was complete without any, and what is complete has no deadline."""
    if wanted in admitted_before(world):
        return
    template, deadline = deployed_template(live), world.model.spec.rollout.progress_deadline_seconds
    made = [pod.created for pod in world.pods if pod.template == template and not pod.terminating and pod.created]
    if made and world.now - min(made) >= timedelta(seconds=deadline):
        yield DEADLINE, f"no pod got ready in {deadline} s"


def _held_by_gate(world: World) -> bool:
    """Whether pods wait for the end of a trial, or for a golden set that is amiss; not where they don't answer it."""
    judged = world.judgement
    return isinstance(judged, Undecided) and (judged.problem is None or judged.problem.stalled)


def _lately_held(world: World, wanted: str) -> bool:
    """Whether the gate held pods until less than the deadline ago: none with the candidate answers just now."""
    candidate = _candidate(world, wanted)
    if world.judgement is not None or candidate is None:
        return False
    return candidate.phase == GATING or (candidate.phase == SILENT and _is_young(world, candidate))


def _just_admitted(world: World, wanted: str) -> bool:
    """Whether pods may answer for less than the deadline: the Deployment's condition may be of the time before."""
    if wanted not in admitted_before(world):
        return isinstance(world.judgement, Passed)
    candidate = _candidate(world, wanted)
    if candidate is None or candidate.phase == "Failed":
        return False
    # A status that couldn't be written after the admission tells of what was before.
    return _is_young(world, candidate) or candidate.phase != "Admitted"


def _no_progress(world: World, wanted: str) -> Iterator[tuple[str, str]]:
    """A candidate that stays at one phase for too long; no Deployment watches over a swap in place."""
    candidate = _candidate(world, wanted)
    if candidate is None or wanted in admitted_before(world) or _is_young(world, candidate):
        return
    words = f": {candidate.message}" if candidate.message else ""
    yield DEADLINE, f"{candidate.phase} for {world.model.spec.rollout.progress_deadline_seconds} s{words}"


def _candidate(world: World, wanted: str) -> RevisionStatus | None:
    """What the status says of the wanted revision on its way, where it says since when."""
    candidate = RerankerModelStatus.model_validate(world.model.status).revisions.candidate
    return candidate if candidate is not None and candidate.name == wanted and candidate.since else None


def _is_young(world: World, candidate: RevisionStatus) -> bool:
    """Whether a candidate has been at its phase for less than the deadline."""
    deadline = timedelta(seconds=world.model.spec.rollout.progress_deadline_seconds)
    return candidate.since is not None and world.now - datetime.fromisoformat(candidate.since) < deadline


def _no_room(world: World, wanted: str) -> Iterator[tuple[str, str]]:
    rule = world.model.spec.rollout.on_unschedulable
    if rule.action == "Abort" and no_room(world, wanted):
        words = next((pod.problem.message for pod in world.pods if pod.unschedulable_since and pod.problem), "")
        yield "Unschedulable", f"no node has had room for {rule.after_seconds} s: {words}"
