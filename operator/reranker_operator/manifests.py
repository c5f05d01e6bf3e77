"""The objects that a RerankerModel owns, as plain dictionaries. No I/O.

Only members that are meant stand in them, so server-side apply owns no more than that.
"""

from collections.abc import Mapping

from reranker_operator import names, serving
from reranker_operator.names import Document
from reranker_operator.ownership import owner_reference
from reranker_operator.pod_template import pod_template
from reranker_operator.settings import Settings
from reranker_operator.state import Kind, Manifest, Model, PodTemplate, child_name


def config_map(model: Model, manifest: Manifest) -> Document:
    """The serving manifest as a starting pod reads it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(model, Kind.CONFIG_MAP),
        "data": {names.MANIFEST_KEY: serving.text(manifest)},
    }


def deployment(
    model: Model, template: PodTemplate, revision: str, inputs: Mapping[str, str], settings: Settings
) -> Document:
    """The worker pods. revision: what new pods serve. inputs: of the templates in use, by key."""
    rollout = model.spec.rollout
    metadata = _metadata(model, Kind.DEPLOYMENT)
    metadata["annotations"] = {
        names.REVISION_ANNOTATION: revision,
        names.INPUTS_ANNOTATION: names.canonical(inputs),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": model.spec.replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": rollout.progress_deadline_seconds,
            "selector": {"matchLabels": {names.MODEL_LABEL: model.key.name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable},
            },
            "template": pod_template(model, template.key, template.claims, settings),
        },
    }


def service(model: Model) -> Document:
    """The clients' address; only ready pods are behind it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(model, Kind.SERVICE),
        "spec": {
            "type": "ClusterIP",
            "selector": {names.MODEL_LABEL: model.key.name},
            "ports": [{"name": "http", "port": names.CLIENT_PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def pod_disruption_budget(model: Model) -> Document:
    """Node drains take one worker at a time; with one replica they still can."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(model, Kind.POD_DISRUPTION_BUDGET),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {names.MODEL_LABEL: model.key.name}}},
    }


def _metadata(model: Model, kind: Kind) -> Document:
    return {
        "name": child_name(kind, model.key.name),
        "namespace": model.key.namespace,
        "labels": names.labels(model.key.name),
        "ownerReferences": [owner_reference(model)],
    }
