"""What a fleet was told and what its pods say, taken together. No I/O."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from reranker_operator.resources.v1alpha1 import RerankerModelStatus, RevisionStatus
from reranker_operator.world import colours, names
from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.names import Document
from reranker_operator.world.reports import FAILED, LOADED, AdapterReport, ModelReport
from reranker_operator.world.state import DEPLOYMENTS, Kind, Manifest, ManifestAdapter, ManifestModel, Pod, World


def last_flip(world: World) -> Flip:
    """Where the Service points; where that is lost, what the status tells. The blue fleet is any model's first."""
    service = world.children.get(Kind.SERVICE)
    annotations = service["metadata"].get("annotations") if service is not None else None
    written = colours.flip((annotations or {}).get(names.FLIP_ANNOTATION))
    return written or _told_flip(world) or Flip()


def _told_flip(world: World) -> Flip | None:
    """The whole flip as the status tells it: what it lacked would be lost with the next write of the status."""
    told = world.model.status.get("fleet")
    if not told:
        return None
    here, since = Colour(told["active"]), told.get("since")
    other = deployment(world, here.other)
    kept = other is not None and deployed_revision(other) == told.get("kept")
    left = deployed_template(other) if other is not None and kept else ""
    return Flip(here, datetime.fromisoformat(since) if since else None, left)


def active(world: World) -> Colour:
    """The fleet that clients reach."""
    return last_flip(world).active


def deployment(world: World, fleet: Colour) -> Document | None:
    return world.children.get(DEPLOYMENTS[fleet])


def deployments(world: World) -> dict[Colour, Document]:
    """The Deployments that there are by their fleets, that of the fleet that clients reach first."""
    here = active(world)
    return {fleet: live for fleet in (here, here.other) if (live := deployment(world, fleet)) is not None}


def making(world: World, revision: str) -> Colour | None:
    """The fleet whose Deployment makes pods for a revision."""
    return next((fleet for fleet, live in deployments(world).items() if deployed_revision(live) == revision), None)


def known_manifests(world: World) -> Iterator[Manifest]:
    """What the fleet was told, the most trustworthy first."""
    # The ConfigMap is the truth; where it was deleted, the pods still carry what they were told last.
    if world.manifest is not None:
        yield world.manifest
    told = [pod.manifest for pod in world.pods if pod.manifest is not None]
    yield from sorted(told, key=lambda told_manifest: told_manifest.generation, reverse=True)


def last_manifest(world: World) -> Manifest | None:
    """What the fleet was told last; None where nothing was, or nothing of it is left."""
    return next(known_manifests(world), None)


def told_serve(world: World) -> dict[str, str]:
    """The revision that each template's pods were told last to serve."""
    serve: dict[str, str] = {}
    for told in known_manifests(world):
        serve = {**told.serve, **serve}
    return serve


def known_models(world: World) -> dict[str, ManifestModel]:
    """Revisions with the source they were made with, in the order in which they came."""
    sources: dict[str, ManifestModel] = {}
    for told in known_manifests(world):  # the newest first: its order stays, else the content would seem another
        for model in told.models:
            sources.setdefault(model.revision, model)
    for past in sorted(world.history, key=lambda each: each.number):
        sources.setdefault(past.model.revision, past.model)
    return sources


def admitted_before(world: World) -> frozenset[str]:
    """Revisions that clients may be answered by already."""
    previous = last_manifest(world)
    told = previous.admitted if previous is not None else ()
    answering = (m.revision for report in world.reports.values() for m in report.models if m.admitted and m.serving)
    return frozenset((*told, *answering, *filter(None, [answered_last(world)])))


def answered_last(world: World) -> str:
    """The revision that the status says answers, or did last; "" where none ever did."""
    serving = (world.model.status.get("revisions") or {}).get("serving") or {}
    return str(serving.get("name", ""))


def candidate_status(world: World, revision: str) -> RevisionStatus | None:
    """What the status says of a revision on its way, where it says since when."""
    found = RerankerModelStatus.model_validate(world.model.status).revisions.candidate
    return found if found is not None and found.name == revision and found.since else None


def is_young(world: World, candidate: RevisionStatus) -> bool:
    """Whether a candidate has been at its phase for less than the deadline."""
    deadline = timedelta(seconds=world.model.spec.rollout.progress_deadline_seconds)
    return candidate.since is not None and world.now - datetime.fromisoformat(candidate.since) < deadline


def answering(world: World) -> set[str]:
    """Revisions that pods answer with: after a swap in place each goes on with the old one until it has flipped."""
    return {model.revision for report in world.reports.values() for model in report.models if model.serving}


def answering_clients(world: World) -> list[str]:
    """Revisions that answer clients on a ready pod, the commonest first."""
    reports = world.reports_of(reached_pods(world))
    serving = Counter(m.revision for report in reports for m in report.models if m.serving and m.admitted)
    return [revision for revision, _ in serving.most_common()]


def answers(world: World, template: str) -> str | None:
    """What a pod of the template says that it answers with: known even where every manifest is lost."""
    reports = world.reports_of(pod for pod in world.pods if pod.template == template)
    return next((model.revision for report in reports for model in report.models if model.serving), None)


def deployed_revision(deployment: Document | None) -> str:
    """The revision that a live Deployment makes pods for; "" where nothing says so."""
    annotations = deployment["metadata"].get("annotations") if deployment is not None else None
    return str((annotations or {}).get(names.REVISION_ANNOTATION, ""))


def deployed_template(deployment: Document) -> str:
    """The template key that a live Deployment makes pods for; "" where someone took it away."""
    return str((deployment["spec"]["template"]["metadata"].get("labels") or {}).get(names.TEMPLATE_LABEL, ""))


def observed(deployment: Document) -> Document:
    """What the Deployment's controller says of it as it is now; nothing while it hasn't looked."""
    status: Document = deployment.get("status") or {}
    return status if status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0) else {}


def observed_conditions(deployment: Document) -> list[Document]:
    """What the Deployment's controller says of the present template."""
    return observed(deployment).get("conditions") or []


def reached_pods(world: World) -> tuple[Pod, ...]:
    """Ready pods that clients reach: behind the Service are those of one fleet only."""
    here = active(world)
    return tuple(pod for pod in world.pods if pod.ready and not pod.terminating and pod.fleet is here)


def loaded_pods(world: World, revision: str) -> tuple[Pod, ...]:
    """Pods that stay and have the revision in memory; none while it is a candidate that one of its pods lacks."""
    previous = last_manifest(world)
    swapped = {key for key, each in (previous.candidates if previous else {}).items() if each == revision}
    staying = [pod for pod in world.pods if not pod.terminating]
    if any(pod.template in swapped and missing(world, previous, pod, revision) for pod in staying):
        return ()
    return tuple(pod for pod in staying if (entry := _entry(world, pod, revision)) and entry.phase == LOADED)


def _entry(world: World, pod: Pod, revision: str) -> ModelReport | None:
    report = world.report(pod)
    return report.model(revision) if report is not None else None


def missing(world: World, told: Manifest | None, pod: Pod, revision: str) -> str:
    """What a pod lacks to swap to a revision in place: the revision, or an adapter that the fleet relies on."""
    entry = _entry(world, pod, revision)
    if entry is None or entry.phase != LOADED:
        return revision
    loaded = {(adapter.name, adapter.revision) for adapter in entry.adapters if adapter.phase == LOADED}
    adapters = told.adapters if told is not None else ()
    required = dict.fromkeys(adapter.name for adapter in adapters if adapter.required)
    return next((name for name in required if not good_enough(adapters, name) & loaded), "")


def good_enough(adapters: tuple[ManifestAdapter, ...], name: str) -> set[tuple[str, str]]:
    """Entries of a name that satisfy what is required of it: the required ones and those preferred to them."""
    entries = [adapter for adapter in adapters if adapter.name == name]
    last = max((place for place, adapter in enumerate(entries) if adapter.required), default=-1)
    return {(name, adapter.revision) for adapter in entries[: last + 1]}


def failed_adapter(world: World, told: Manifest | None, pod: Pod, adapter: ManifestAdapter) -> AdapterReport | None:
    """What a pod says of an adapter that it can't load, neither on what answers nor on what is to follow that.

    One that was asked for together with a model may fit no other: until the pod answers with that, nothing is amiss.
    """
    report = world.report(pod)
    said = report.adapter(adapter.name, adapter.revision) if report is not None else None
    if report is None or said is None or said.phase != FAILED:
        return None
    coming = (told.candidates.get(pod.template) or told.serve.get(pod.template)) if told is not None else None
    models = (model for model in report.models if model.revision == coming and not model.serving)
    there = next((model.adapter(adapter.name, adapter.revision) for model in models), None) or said
    return there if there.phase == FAILED else None
