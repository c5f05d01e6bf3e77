"""What keeps a fleet from serving its model's generation everywhere: the first reason, in words. No I/O.

Checks stand in the order in which a person would ask; one that won't pass by itself goes before one that may.
"""

from collections.abc import Iterator
from datetime import timedelta

from reranker_operator.decisions import blue_green
from reranker_operator.decisions.objections import with_cause
from reranker_operator.objects import ownership
from reranker_operator.world import facts
from reranker_operator.world.facts import Problem
from reranker_operator.world.fleet import (
    deployed_template,
    deployment,
    failed_adapter,
    last_manifest,
    observed_conditions,
)
from reranker_operator.world.names import INTERNAL_PORT
from reranker_operator.world.reports import FAILED, LOADED, WorkerReport
from reranker_operator.world.state import ManifestAdapter, Pod, Target, World
from reranker_operator.world.trials import Failed, Undecided

#: Within this time every node's proxy has heard that a Service points elsewhere.
PROPAGATION = timedelta(seconds=5)


def blocker(world: World, target: Target) -> Problem | None:
    """Why the model isn't Ready; None when it is."""
    problems = list(_problems(world, target))
    stalled = (problem for problem in problems if problem.stalled)
    return next(stalled, problems[0] if problems else None)


def new_pods(world: World, target: Target) -> tuple[Pod, ...]:
    """Pods that are made from the target's template, and stay."""
    return tuple(pod for pod in world.pods if _is_new(pod, target) and not pod.terminating)


def _is_new(pod: Pod, target: Target) -> bool:
    return (pod.fleet, pod.template) == (target.home, target.template)


def old_pods(world: World, target: Target) -> tuple[Pod, ...]:
    """Other pods that clients reach; an ending one counts while it answers: it may serve the old revision."""
    reached = (pod for pod in world.pods if pod.fleet is target.flip.active and not _is_new(pod, target))
    return tuple(pod for pod in reached if not pod.terminating or pod.ready or world.report(pod) is not None)


def _problems(world: World, target: Target) -> Iterator[Problem]:
    obstacle = ownership.obstacle(world)
    if obstacle is not None:
        yield obstacle
    if world.refusal:
        yield Problem(ownership.REFUSED, world.refusal)
    if target.rejected is not None:
        words = f"{target.rejected.name} is rejected: {target.rejected.message}; {target.revision} serves in its place"
        yield Problem(target.rejected.reason, words)
    if target.prefetched:
        yield _waiting("Prefetching", f"running pods fetch {target.prefetched} before pods are made for it")
    yield from _failures(world, target)
    yield from (pod.problem for pod in new_pods(world, target) if pod.problem is not None)
    yield from _gate_problems(world, target)
    yield from _deployment_problems(world, target)
    yield from _numbers(world, target)
    for pod in new_pods(world, target):
        yield from _pod_waits(world, pod, target)
    ending = old_pods(world, target)
    if ending:
        yield _waiting("RollingOut", f"{len(ending)} pods of an older template still answer")
    yield from _flip_waits(world, target)
    yield from _adapter_waits(world, target)


def _waiting(reason: str, message: str) -> Problem:
    return Problem(reason, message, stalled=False)


def _failures(world: World, target: Target) -> Iterator[Problem]:
    """What workers say can't be loaded: the model first, then adapters."""
    reports = [(pod, report) for pod in new_pods(world, target) if (report := world.report(pod)) is not None]
    for pod, report in reports:
        model = report.model(target.revision)
        if model is not None and model.phase == FAILED:
            yield Problem(model.reason or FAILED, f"{target.revision} on pod {pod.name}: {model.message}")
        if report.reason == "InvalidManifest":
            yield Problem(report.reason, f"pod {pod.name}: {report.message}")
    told = last_manifest(world)
    for wanted in _own_adapters(target):
        for pod, _ in reports:
            adapter = failed_adapter(world, told, pod, wanted)
            if adapter is not None:
                message = f"adapter {wanted.name} ({wanted.revision}) on pod {pod.name}: {adapter.message}"
                yield Problem(adapter.reason or FAILED, message)


def _gate_problems(world: World, target: Target) -> Iterator[Problem]:
    """What the gate says of a revision that has loaded."""
    match target.judgement:
        case Failed() as failed:
            yield Problem(failed.reason, f"{target.revision} answers no client: {failed.message}")
        case Undecided(problem) if problem is not None:
            yield problem
        case Undecided():
            gate = world.model.spec.rollout.gate
            live = " and on live queries" if gate is not None and gate.shadow is not None else ""
            yield _waiting("Gating", f"{target.revision} is being tried on the golden set{live}")


def _deployment_problems(world: World, target: Target) -> Iterator[Problem]:
    """What the Deployment's own controller reports of the present template: a quota, a refused pod, no progress."""
    live = deployment(world, target.home)
    if live is None or deployed_template(live) != target.template:
        return
    for condition in observed_conditions(live):
        bad = {"ReplicaFailure": "True", "Progressing": "False"}.get(condition["type"])
        if condition["status"] == bad:
            message = with_cause(str(condition.get("message", "")), new_pods(world, target))
            yield Problem(str(condition.get("reason", condition["type"])), message)


def _numbers(world: World, target: Target) -> Iterator[Problem]:
    pods, wanted = len(new_pods(world, target)), world.model.spec.pods
    if pods < wanted:
        rolling = bool(old_pods(world, target))
        yield _waiting("RollingOut" if rolling else "StartingPods", f"{pods} of {wanted} pods are made")
    if pods > wanted:
        yield _waiting("Scaling", f"{pods} pods are left of which {wanted} are wanted")


def _pod_waits(world: World, pod: Pod, target: Target) -> Iterator[Problem]:
    """The way of one pod from its start to serving; each step only when the one before is done."""
    report, generation = world.report(pod), target.manifest.generation
    if not pod.ip:
        yield _waiting("StartingPods", f"no worker runs in pod {pod.name} yet")
    elif report is None:
        yield _waiting("StartingPods", f"pod {pod.name} doesn't answer on http://{pod.ip}:{INTERNAL_PORT}/state yet")
    elif report.observed_generation < generation and not _was_ready(world):
        message = f"pod {pod.name} has read generation {report.observed_generation} of the serving manifest, not yet "
        yield _waiting("UpdatingPods", f"{message}{generation}")
    else:
        yield from _model_waits(report, pod, target)


def _was_ready(world: World) -> bool:
    """Whether this very generation serves everywhere already: what the manifest loses since then changes no answer."""
    ready = facts.condition(world.model.status, "Ready")
    return (ready.get("status"), ready.get("observedGeneration")) == ("True", world.model.generation)


def _model_waits(report: WorkerReport, pod: Pod, target: Target) -> Iterator[Problem]:
    model = report.model(target.revision)
    if model is None or model.phase != LOADED:
        phase = "unknown to it" if model is None else model.phase
        # While it downloads the message changes with every byte; status.downloads has that.
        why = f", it {model.message}" if model is not None and phase == "Loading" and model.message else ""
        yield _waiting("LoadingModel", f"{target.revision} on pod {pod.name}: {phase}{why}")
    elif not model.serving and report.ready and pod.ready:
        yield _waiting("Swapping", f"pod {pod.name} has {target.revision} in memory and doesn't answer with it yet")
    elif not (model.serving and model.admitted and report.ready and pod.ready):
        why = report.message or "its readiness probe hasn't passed"
        yield _waiting("StartingPods", f"pod {pod.name} has {target.revision} but isn't ready: {why}")


def _flip_waits(world: World, target: Target) -> Iterator[Problem]:
    """What a Service that has just turned leaves for a moment: nodes that don't know it yet, kept connections."""
    flip = target.flip
    if flip.at is None or _was_ready(world):
        return
    if world.now < flip.at + PROPAGATION:
        words = f"the Service points at the {flip.active} fleet since {flip.at:%H:%M:%S}; every node knows within "
        yield _waiting("Flipping", f"{words}{PROPAGATION.seconds} s")
    for pod in blue_green.parked_pods(world):
        report = world.report(pod)
        if report is not None and report.observed_generation < target.manifest.generation:
            yield _waiting("Flipping", f"pod {pod.name} of the fleet before may still keep connections")


def _adapter_waits(world: World, target: Target) -> Iterator[Problem]:
    pods = new_pods(world, target)
    reports = world.reports_of(pods)
    waiting = [
        adapter.name
        for adapter in _own_adapters(target)
        if not adapter.required or sum(each.has_loaded(adapter.name, adapter.revision) for each in reports) < len(pods)
    ]
    if waiting and world.model.spec.pods:
        yield _waiting("LoadingAdapters", f"not loaded on every pod yet: {', '.join(sorted(waiting))}")


def _own_adapters(target: Target) -> list[ManifestAdapter]:
    """The wanted ones of the model's spec: a RerankerAdapter has a Ready of its own, and can't spoil the model's."""
    wanted = {adapter.name: adapter for adapter in reversed(target.manifest.adapters)}
    return [adapter for adapter in target.manifest.adapters if adapter is wanted[adapter.name] and not adapter.owner]
