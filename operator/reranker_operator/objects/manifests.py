"""The objects that a RerankerModel owns, as plain dictionaries. No I/O.

Only members that are meant stand in them, so server-side apply owns no more than that.
"""

from collections.abc import Mapping

from reranker_operator.objects import serving
from reranker_operator.objects.ownership import metadata
from reranker_operator.objects.pod_template import pod_template
from reranker_operator.settings import Settings
from reranker_operator.world import colours, names
from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.names import Document
from reranker_operator.world.state import DEPLOYMENTS, Kind, Manifest, Model, PodTemplate


def config_map(model: Model, manifest: Manifest) -> Document:
    """The serving manifest as a starting pod reads it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(model, Kind.CONFIG_MAP),
        "data": {names.MANIFEST_KEY: serving.text(manifest)},
    }


def deployment(
    model: Model,
    template: PodTemplate,
    settings: Settings,
    *,
    revision: str,
    inputs: Mapping[str, str],
    fleet: Colour,
    reached: bool,
) -> Document:
    """The worker pods of a fleet. revision: what new pods serve. inputs: of the templates in use, by key.

    reached: whether clients reach it. Pods of one that they don't reach are replaced all at once, which needs no room
    beyond that of two fleets.
    """
    rollout = model.spec.rollout
    pace: Document = {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable}
    annotations = {names.REVISION_ANNOTATION: revision, names.INPUTS_ANNOTATION: names.canonical(inputs)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata(model, DEPLOYMENTS[fleet]), "annotations": annotations},
        "spec": {
            "replicas": model.spec.pods,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": rollout.progress_deadline_seconds,
            # The API server leaves out a zero, which would look like a difference for ever.
            **({"minReadySeconds": rollout.min_ready_seconds} if rollout.min_ready_seconds else {}),
            "selector": {"matchLabels": names.fleet_labels(model.key.name, fleet)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": pace if reached else {"maxSurge": 0, "maxUnavailable": "100%"},
            },
            "template": pod_template(model, template.key, template.mounts, settings, fleet),
        },
    }


def size(model: Model, live: Document) -> Document:
    """A merge patch that gives a Deployment the model's number of pods, over the version that was seen only."""
    annotations = {names.GENERATION_ANNOTATION: str(model.generation)}
    version = live["metadata"]["resourceVersion"]
    return {"metadata": {"annotations": annotations, "resourceVersion": version}, "spec": {"replicas": model.spec.pods}}


def service(model: Model, flip: Flip) -> Document:
    """The clients' address; only ready pods of one fleet are behind it."""
    turned = {"annotations": {names.FLIP_ANNOTATION: colours.text(flip)}} if flip.at is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata(model, Kind.SERVICE), **turned},
        "spec": {
            "type": "ClusterIP",
            "selector": names.fleet_labels(model.key.name, flip.active),
            "ports": [{"name": "http", "port": names.CLIENT_PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def pod_disruption_budget(model: Model, flip: Flip) -> Document:
    """Node drains take one worker at a time of those that clients reach, with one replica that one.

    A second fleet isn't counted: while it loads, its pods would be missing ones, and no node could be drained.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(model, Kind.POD_DISRUPTION_BUDGET),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.fleet_labels(model.key.name, flip.active)},
            # A pod that doesn't answer is missed by nobody, however few others do.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
