"""A RerankerAdapter's status and the Events of its changes: what the model and its pods make of it. No I/O."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from reranker_operator.decisions.adapters import Verdict
from reranker_operator.resources.adapter_kind import RerankerAdapterStatus
from reranker_operator.settings import Settings
from reranker_operator.status.conditions import adapter_status
from reranker_operator.status.transitions import NORMAL, WARNING
from reranker_operator.world import facts, names
from reranker_operator.world.actions import Event
from reranker_operator.world.adapter_resource import AdapterResource
from reranker_operator.world.facts import Fact, Problem, condition, timestamp
from reranker_operator.world.fleet import reached_pods
from reranker_operator.world.names import Document, Key
from reranker_operator.world.reports import LOADED
from reranker_operator.world.state import Manifest, ManifestAdapter, World


def status(world: World, manifest: Manifest, verdict: Verdict, now: datetime) -> Document:
    """The whole status; the same document as before as long as nothing changed. manifest: what the pods are told."""
    if isinstance(verdict.outcome, Problem):
        return refused(verdict.resource, verdict.outcome, now)
    found = adapter_status(world, verdict.outcome)
    serving = _serving(world, manifest, verdict.outcome)
    stated = RerankerAdapterStatus(
        observed_generation=verdict.resource.generation,
        revision=found.revision,
        serving=serving,
        ready=found.ready,
        desired=found.desired,
        pods=f"{found.ready}/{found.desired}",
    )
    problem = _problem(found.ready, found.desired, found.reason, found.message)
    return _document(verdict.resource, stated, _facts(world.model.key, stated, problem), now)


def refused(resource: AdapterResource, problem: Problem, now: datetime) -> Document:
    """The status of an adapter that no model takes: it is loaded nowhere."""
    stated = RerankerAdapterStatus(observed_generation=resource.generation)
    told = [Fact(name, False, problem.reason, problem.message) for name in ("Accepted", "Available", "Ready")]
    return _document(resource, stated, [*told, facts.pace(problem)], now)


def model_not_found(key: Key, settings: Settings) -> Problem:
    """Why an adapter waits: there may be such a model later."""
    if not settings.watches(key.namespace):
        message = (
            f"this operator watches {', '.join(settings.watched_namespaces)}, not the namespace of RerankerModel {key}"
        )
    else:
        message = f"there is no RerankerModel {key}; the adapter is loaded once there is"
    return Problem("ModelNotFound", message, stalled=False)


def settled(status: Document) -> bool:
    """Whether only an edit, or an event of the cluster, could change this status."""
    accepted, ready = condition(status, "Accepted"), condition(status, "Ready")
    return accepted.get("status") == "False" or ready.get("status") == "True"


def _serving(world: World, manifest: Manifest, adapter: ManifestAdapter) -> str:
    """The revision of this owner that the most ready pods answer with; "" where none does."""
    own = {entry.revision for entry in manifest.adapters if (entry.name, entry.owner) == (adapter.name, adapter.owner)}
    said = (each for report in world.reports_of(reached_pods(world)) for each in report.adapters)
    loaded = (each for each in said if each.phase == LOADED)
    found = Counter(each.revision for each in loaded if each.name == adapter.name and each.revision in own)
    return found.most_common(1)[0][0] if found else ""


def _problem(ready: int, desired: int, reason: str | None, message: str | None) -> Problem | None:
    if reason is not None:
        return Problem(reason, message or reason)
    if ready < desired:
        return Problem("Loading", f"{ready} of {desired} pods have loaded it", stalled=False)
    return None


def _facts(key: Key, stated: RerankerAdapterStatus, problem: Problem | None) -> Iterator[Fact]:
    yield Fact("Accepted", True, "Accepted", f"RerankerModel {key} takes it")
    if stated.serving:
        yield Fact("Available", True, "Serving", f"clients get {stated.serving}")
    else:
        yield Fact("Available", False, problem.reason if problem else "ScaledToZero", "no pod has it loaded")
    if problem is not None:
        yield Fact("Ready", False, problem.reason, problem.message)
        yield facts.pace(problem)
    elif stated.desired == 0:
        yield Fact("Ready", True, "ScaledToZero", f"RerankerModel {key} has no pods that could load it")
    else:
        yield Fact("Ready", True, "Loaded", f"all {stated.desired} pods have loaded {stated.revision}")


def _document(
    resource: AdapterResource, stated: RerankerAdapterStatus, told: Iterator[Fact] | list[Fact], now: datetime
) -> Document:
    before = RerankerAdapterStatus.model_validate(resource.status).conditions
    conditions = list(facts.conditions(list(told), resource.generation, before, timestamp(now)))
    whole = stated.model_copy(update={"conditions": conditions})
    return names.without_none(whole.model_dump(by_alias=True))  # type: ignore[no-any-return]


def events(before: Document, after: Document) -> Iterator[Event]:
    """The Events of one change of status."""
    accepted, ready = condition(after, "Accepted"), condition(after, "Ready")
    old_accepted, old_ready = condition(before, "Accepted"), condition(before, "Ready")
    if accepted["status"] != old_accepted.get("status") or accepted["reason"] != old_accepted.get("reason"):
        kind = NORMAL if accepted["status"] == "True" else WARNING
        yield Event(kind, accepted["reason"], accepted["message"])
    if accepted["status"] == "False":
        return
    same = before.get("revision") == after["revision"] and ready["status"] == old_ready.get("status")
    if ready["status"] == "True" and not same:
        yield Event(NORMAL, "AdapterReady", ready["message"])
    stalled = condition(after, "Stalled")
    if stalled and not (same and stalled["reason"] == condition(before, "Stalled").get("reason")):
        yield Event(WARNING, "AdapterFailed", f"{after['revision']}: {stalled['reason']}: {stalled['message']}")
