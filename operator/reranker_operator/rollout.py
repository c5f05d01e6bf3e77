"""How a fleet gets from the revision that serves to the wanted one: the serving manifest's content. No I/O.

The manifest names every revision that a living pod serves and the wanted one. A revision is admitted when a pod has
loaded it and the gate has let it pass, so one that was overtaken by the next edit before that never answers.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from reranker_operator import names
from reranker_operator.names import Document
from reranker_operator.state import (
    Kind,
    Manifest,
    ManifestAdapter,
    ManifestModel,
    Model,
    ModelReport,
    Passed,
    Pod,
    World,
)
from reranker_operator.v1alpha1 import Adapter, ArtifactSource

PVC = "pvc://"
HF = "hf://"
CLAIM_VOLUME = "pvc-"


def wanted_model(model: Model) -> ManifestModel:
    """The revision that the spec asks for."""
    source = source_document(model.spec.source)
    engine = {
        "dtype": model.spec.engine.dtype,
        "maxLength": model.spec.engine.max_length,
        "scores": model.spec.engine.scores,
    }
    return ManifestModel(names.model_revision(model.key.name, source, engine), source, engine)


def wanted_adapter(adapter: Adapter) -> ManifestAdapter:
    source = source_document(adapter.source)
    return ManifestAdapter(adapter.name, names.adapter_revision(adapter.name, source), source)


def source_document(source: ArtifactSource) -> Document:
    document = {"uri": source.uri, "revision": source.revision, "digest": source.digest}
    return {member: value for member, value in document.items() if value is not None}


def served_name(model: Model, uri: str) -> str:
    """What clients call the model: as given, else the hub's repository, else the resource's name."""
    if model.spec.served_name:
        return model.spec.served_name
    return uri.removeprefix(HF) if uri.startswith(HF) else model.key.name


def wanted_claims(model: Model, wanted: ManifestModel) -> set[str]:
    """PersistentVolumeClaims that pods of a revision and the spec's adapters need."""
    uris = (wanted.source["uri"], *(adapter.source.uri for adapter in model.spec.adapters))
    return {claim for claim in map(_claim, uris) if claim}


def claims_of(pod_spec: Document) -> tuple[str, ...]:
    """PersistentVolumeClaims that a pod mounts."""
    volumes = pod_spec.get("volumes") or ()
    return tuple(sorted(v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v))


def _claim(uri: str) -> str:
    return uri.removeprefix(PVC).partition("/")[0] if uri.startswith(PVC) else ""


def deployed_revision(world: World) -> str:
    """The revision that the live Deployment makes pods for; "" where nothing says so."""
    deployment = world.children.get(Kind.DEPLOYMENT)
    annotations = deployment["metadata"].get("annotations") if deployment is not None else None
    return str((annotations or {}).get(names.REVISION_ANNOTATION, ""))


def observed_conditions(deployment: Document) -> list[Document]:
    """What the Deployment's controller says of the present template; nothing while it hasn't looked."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return []
    return status.get("conditions") or []


def manifest(world: World, wanted: ManifestModel, template: str) -> Manifest:
    """The serving manifest for a fleet that is to serve `wanted`, whose new pods are made from `template`."""
    known = tuple(known_manifests(world))
    previous = known[0] if known else None
    living = _serve(world, known, template)
    candidates = _candidates(world, living, wanted.revision, template)
    serve = living if candidates else {**living, template: wanted.revision}
    models = _models({*serve.values(), *_answering(world)}, known_models(world), wanted)
    spec = world.model.spec
    content = Manifest(
        generation=0,
        served_name=served_name(world.model, wanted.source["uri"]),
        models=models,
        serve={key: revision for key, revision in serve.items() if any(m.revision == revision for m in models)},
        admitted=_admitted(world, models, wanted.revision),
        adapters=_adapters(world, previous),
        adapter_policy={"maxLoaded": spec.adapter_policy.max_loaded, "maxRank": spec.adapter_policy.max_rank},
        limits={"maxBatchTokens": spec.engine.max_batch_tokens, "maxQueueTokens": spec.engine.max_queue_tokens},
        drain_seconds=spec.rollout.drain_seconds,
        candidates=candidates,
    )
    return replace(content, generation=_generation(world, previous, content))


def known_manifests(world: World) -> Iterator[Manifest]:
    """What the fleet was told, the most trustworthy first."""
    # The ConfigMap is the truth; where it was deleted, the pods still carry what they were told last.
    if world.manifest is not None:
        yield world.manifest
    told = [pod.manifest for pod in world.pods if pod.manifest is not None]
    yield from sorted(told, key=lambda told_manifest: told_manifest.generation, reverse=True)


def _candidates(world: World, living: dict[str, str], wanted: str, template: str) -> dict[str, str]:
    """What pods load beside what they serve, until all of them have it and it may answer: then they serve it at once.

    Empty where the template is a new one, or serves the wanted revision already.
    """
    if living.get(template, wanted) == wanted:
        return {}
    previous = next(known_manifests(world), None)
    asked = previous is not None and previous.candidates.get(template) == wanted
    if asked and loaded_pods(world, wanted) and (wanted in admitted_before(world) or admission(world, wanted)):
        return {}
    return {template: wanted}


def _serve(world: World, known: tuple[Manifest, ...], template: str) -> dict[str, str]:
    """What each living template serves; a pod that ends counts until it is gone, since it may still answer."""
    serve: dict[str, str] = {}
    # The Deployment may be making a pod of its template right now that no listing shows yet.
    deployment = world.children.get(Kind.DEPLOYMENT)
    deployed = [deployed_template(deployment)] if deployment is not None else []
    for key in dict.fromkeys([*deployed, *sorted(pod.template for pod in world.pods), template]):
        told = (m.serve[key] for m in known if key in m.serve)
        revision = next(told, None) or _answers(world, key)
        if revision is not None:
            serve[key] = revision
    return serve


def _answering(world: World) -> set[str]:
    """Revisions that pods answer with: after a swap in place each goes on with the old one until it has flipped."""
    return {model.revision for report in world.reports.values() for model in report.models if model.serving}


def _answers(world: World, template: str) -> str | None:
    """What a pod of the template says that it answers with: known even where every manifest is lost."""
    reports = [report for pod in world.pods if pod.template == template and (report := world.report(pod)) is not None]
    return next((model.revision for report in reports for model in report.models if model.serving), None)


def deployed_template(deployment: Document) -> str:
    """The template key that a live Deployment makes pods for; "" where someone took it away."""
    return str((deployment["spec"]["template"]["metadata"].get("labels") or {}).get(names.TEMPLATE_LABEL, ""))


def known_models(world: World) -> dict[str, ManifestModel]:
    """Revisions with the source they were made with, in the order in which they came."""
    sources: dict[str, ManifestModel] = {}
    for told in known_manifests(world):  # the newest first: its order stays, else the content would seem another
        for model in told.models:
            sources.setdefault(model.revision, model)
    for past in sorted(world.history, key=lambda each: each.number):
        sources.setdefault(past.model.revision, past.model)
    return sources


def _models(living: set[str], sources: dict[str, ManifestModel], wanted: ManifestModel) -> tuple[ManifestModel, ...]:
    """Old revisions, then the wanted one."""
    old = living - {wanted.revision}
    return (*(model for revision, model in sources.items() if revision in old), wanted)


def _admitted(world: World, models: tuple[ManifestModel, ...], wanted: str) -> tuple[str, ...]:
    """Revisions that may answer: those that could before, and the wanted one once it passes admission."""
    before = admitted_before(world)
    return tuple(
        model.revision
        for model in models
        if model.revision in before or (model.revision == wanted and admission(world, wanted))
    )


def admitted_before(world: World) -> frozenset[str]:
    """Revisions that clients may be answered by already."""
    previous = next(known_manifests(world), None)
    told = previous.admitted if previous is not None else ()
    answering = (m.revision for report in world.reports.values() for m in report.models if m.admitted and m.serving)
    return frozenset((*told, *answering))


def admission(world: World, revision: str) -> bool:
    """Whether a revision that never answered may: a pod has it in memory and scored a pair, and it passed the gate."""
    gated = world.model.spec.rollout.gate is not None
    return bool(loaded_pods(world, revision)) and (not gated or isinstance(world.judgement, Passed))


def loaded_pods(world: World, revision: str) -> tuple[Pod, ...]:
    """Pods that stay and have the revision in memory; none while it is a candidate that one of its pods lacks."""
    previous = next(known_manifests(world), None)
    swapped = {key for key, each in (previous.candidates if previous else {}).items() if each == revision}
    staying = [pod for pod in world.pods if not pod.terminating]
    if any(pod.template in swapped and missing(world, previous, pod, revision) for pod in staying):
        return ()
    return tuple(pod for pod in staying if (entry := _entry(world, pod, revision)) and entry.phase == "Loaded")


def _entry(world: World, pod: Pod, revision: str) -> ModelReport | None:
    report = world.report(pod)
    return report.model(revision) if report is not None else None


def missing(world: World, told: Manifest | None, pod: Pod, revision: str) -> str:
    """What a pod lacks to swap to a revision in place: the revision, or an adapter that the fleet relies on."""
    entry = _entry(world, pod, revision)
    if entry is None or entry.phase != "Loaded":
        return revision
    loaded = {(adapter.name, adapter.revision) for adapter in entry.adapters if adapter.phase == "Loaded"}
    adapters = told.adapters if told is not None else ()
    required = dict.fromkeys(adapter.name for adapter in adapters if adapter.required)
    return next((name for name in required if not _good_enough(adapters, name) & loaded), "")


def _good_enough(adapters: tuple[ManifestAdapter, ...], name: str) -> set[tuple[str, str]]:
    """Entries of a name that satisfy what is required of it: the required one and those preferred to it."""
    entries = [adapter for adapter in adapters if adapter.name == name]
    last = max(place for place, adapter in enumerate(entries) if adapter.required)
    return {(name, adapter.revision) for adapter in entries[: last + 1]}


def no_room(world: World, revision: str) -> bool:
    """Whether a revision's first new pod has waited for a node for longer than the spec lets it."""
    rule, deployment = world.model.spec.rollout.on_unschedulable, world.children.get(Kind.DEPLOYMENT)
    if deployment is None or deployed_revision(world) != revision:
        return False
    pods = [pod for pod in world.pods if pod.template == deployed_template(deployment) and not pod.terminating]
    patience = timedelta(seconds=rule.after_seconds)
    waits = (world.now - pod.unschedulable_since for pod in pods if pod.unschedulable_since is not None)
    return not any(pod.ready for pod in pods) and any(waited >= patience for waited in waits)


def _adapters(world: World, previous: Manifest | None) -> tuple[ManifestAdapter, ...]:
    """Per name the wanted revision, then the one that the fleet has, until it has the wanted one."""
    required = {adapter.name: adapter for adapter in (previous.adapters if previous else ()) if adapter.required}
    entries: list[ManifestAdapter] = []
    for adapter in map(wanted_adapter, world.model.spec.adapters):
        fleet = required.get(adapter.name)
        same = fleet is not None and fleet.revision == adapter.revision
        has_it = same or _loaded_everywhere(world, adapter)
        entries.append(replace(adapter, required=has_it))
        if fleet is not None and not has_it:
            entries.append(fleet)
    return tuple(entries)


def _loaded_everywhere(world: World, adapter: ManifestAdapter) -> bool:
    pods = ready_pods(world)
    entries = [r.adapter(adapter.name, adapter.revision) for r in map(world.report, pods) if r is not None]
    return bool(pods) and len(entries) == len(pods) and all(e is not None and e.phase == "Loaded" for e in entries)


def ready_pods(world: World) -> tuple[Pod, ...]:
    return tuple(pod for pod in world.pods if pod.ready and not pod.terminating)


def _generation(world: World, previous: Manifest | None, content: Manifest) -> int:
    """The previous generation while the content stays; a new one is above all that any pod was told or has read."""
    seen = [pod.manifest.generation for pod in world.pods if pod.manifest is not None]
    seen += [report.observed_generation for report in world.reports.values()]
    newest = max(seen, default=0)
    if previous is not None and previous.same_content(content) and previous.generation >= newest:
        return previous.generation
    return max(newest, previous.generation if previous is not None else 0) + 1
