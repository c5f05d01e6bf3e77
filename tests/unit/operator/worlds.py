"""Worlds to decide on: a model, its fleet and what its workers say, made by a few words."""

from dataclasses import replace
from typing import Any

from reranker_operator.decisions import revisions
from reranker_operator.decisions.adapters import wanted_adapter
from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.decisions.target import target
from reranker_operator.objects import history, serving
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.settings import Settings
from reranker_operator.world import names
from reranker_operator.world.actions import Forget
from reranker_operator.world.colours import Colour
from reranker_operator.world.mounts import mounts_of
from reranker_operator.world.names import Document, Key
from reranker_operator.world.reports import AdapterReport, ModelReport, WorkerReport
from reranker_operator.world.state import DEPLOYMENTS, Kind, Manifest, Model, Past, Pod, Target, World

KEY = Key("search", "bge")
SETTINGS = Settings(worker_image="worker:1")
ONE, TWO, THREE = "pvc://models/one", "pvc://models/two", "pvc://models/three"
LEGAL, LEGAL_TWO = "pvc://models/legal", "pvc://models/legal-two"


def model(uri: str = ONE, *, generation: int = 1, adapters: dict[str, str] | None = None, **spec: Any) -> Model:
    listed = [{"name": name, "source": {"uri": source}} for name, source in (adapters or {}).items()]
    parsed = RerankerModelSpec.model_validate({"source": {"uri": uri}, "replicas": 2, "adapters": listed, **spec})
    return Model(KEY, "uid-1", generation, "100", parsed)


def revision(uri: str) -> str:
    return wanted_model(model(uri)).revision


def adapter_revision(name: str, uri: str) -> str:
    return wanted_adapter(model(adapters={name: uri}).spec.adapters[0]).revision


def empty(wanted: Model) -> World:
    """Nothing of the model is there yet, in a cluster that has image volumes."""
    return World(wanted, {}, image_volumes=wanted.spec.source.image_volume)


def goal(world: World) -> Target:
    return target(world, SETTINGS)


def applied(world: World) -> World:
    """The world after the target was written, as the API server would give it back; the pods as they were."""
    wanted = goal(world)
    written = {kind: _live(body, world.model.generation) for kind, body in wanted.children.items()}
    left = {kind: live for kind, live in world.children.items() if kind in wanted.kept}
    sized = {kind: {**live, "spec": {**live["spec"], "replicas": world.model.spec.pods}} for kind, live in left.items()}
    return replace(world, children={**sized, **written}, manifest=wanted.manifest, history=_kept(world, wanted))


def _kept(world: World, wanted: Target) -> tuple[Past, ...]:
    """The ControllerRevisions after the changes that the target calls for."""
    kept = {each.model.revision: each for each in world.history}
    for change in revisions.changes(world, wanted):
        if isinstance(change, Forget):
            del kept[change.name]
        else:
            metadata = {**change.body["metadata"], "resourceVersion": "7", "uid": f"uid-{change.name}"}
            found = history.past(
                {"metadata": metadata, "data": change.body["data"], "revision": change.body["revision"]},
                world.model.uid,
            )
            assert found is not None
            kept[change.name] = found
    return tuple(kept.values())


def _live(body: Document, generation: int) -> Document:
    annotations = {**body["metadata"]["annotations"], names.GENERATION_ANNOTATION: str(generation)}
    metadata = {**body["metadata"], "annotations": annotations, "resourceVersion": "7", "uid": "uid-child"}
    return {**body, "metadata": metadata}


def report(manifest: Manifest, template: str, **entry: Any) -> WorkerReport:
    """What a worker of that template says when it has read the manifest and loaded all that it can."""
    served = manifest.serve[template]
    admitted = served in manifest.admitted
    mine = replace(ModelReport(served, "Loaded", admitted=admitted, serving=admitted), **entry)
    adapters = tuple(AdapterReport(a.name, a.revision, "Loaded") for a in manifest.adapters)
    return WorkerReport(manifest.generation, ready=mine.serving, models=(mine,), adapters=adapters)


def with_pods(world: World, template: str, *pod_names: str, fleet: Colour = Colour.BLUE, **entry: Any) -> World:
    """More pods of a template, which have read the manifest; ready when their revision is admitted."""
    assert world.manifest is not None
    said = report(world.manifest, template, **entry)
    mounts = mounts_of(world.children[DEPLOYMENTS[fleet]]["spec"]["template"]["spec"])
    pods = tuple(
        Pod(name, template, fleet, ip=f"10.0.0.{i}", ready=said.ready, mounts=mounts)
        for i, name in enumerate(pod_names, 1)
    )
    return replace(world, pods=(*world.pods, *pods), reports={**world.reports, **dict.fromkeys(pod_names, said)})


def serving_world(wanted: Model | None = None, pods: tuple[str, ...] = ("a", "b")) -> World:
    """A fleet that has converged: children written, the revision admitted and served, adapters required."""
    world = applied(empty(wanted or model()))
    template = goal(world).template
    for _ in range(3):  # loaded, then admitted and adapters loaded, then adapters required
        world = applied(with_pods(replace(world, pods=(), reports={}), template, *pods))
    return with_pods(replace(world, pods=(), reports={}), template, *pods)


def edited(world: World, wanted: Model) -> World:
    """The same fleet under a new spec."""
    model = replace(wanted, generation=world.model.generation + 1, status=world.model.status)
    return replace(world, model=model, image_volumes=wanted.spec.source.image_volume)


def late(world: World) -> World:
    """The Deployment's controller has seen no progress for too long."""
    deployment = world.children[Kind.DEPLOYMENT]
    entry = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    live = {**deployment, "status": {"observedGeneration": 1, "conditions": [entry]}}
    return replace(world, children={**world.children, Kind.DEPLOYMENT: live})


def golden_gate(**thresholds: Any) -> dict[str, Any]:
    """A spec's rollout with a gate."""
    return {"rollout": {"gate": {"goldenSet": {"configMapRef": {"name": "golden"}}, **thresholds}}}


def without_manifest(world: World) -> World:
    """The ConfigMap deleted; the pods keep the annotation that told them."""
    children = dict(world.children)
    del children[Kind.CONFIG_MAP]
    told = tuple(replace(pod, manifest=world.manifest) for pod in world.pods)
    return replace(world, children=children, manifest=None, pods=told)


def reread(manifest: Manifest) -> Manifest:
    found = serving.manifest(serving.text(manifest))
    assert found is not None
    return found
