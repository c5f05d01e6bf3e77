"""What sets a model's number of pods: KEDA where the cluster has it, else Kubernetes' own autoscaler. No I/O.

Either writes `replicas` through the model's /scale, never to a Deployment: so the operator alone writes those, and an
autoscaler needn't know which of two fleets clients reach.
"""

import re
from datetime import timedelta

from reranker_operator.objects import ownership
from reranker_operator.objects.nodes import on_gpu
from reranker_operator.resources.autoscaling_policy import Autoscaling, Trigger
from reranker_operator.resources.v1alpha1 import API_VERSION, KIND
from reranker_operator.world import names
from reranker_operator.world.colours import Flip
from reranker_operator.world.facts import AUTOSCALING, Fact, condition
from reranker_operator.world.fleet import reached_pods
from reranker_operator.world.names import Document
from reranker_operator.world.state import Kind, Model, World

KEDA = "keda.sh/v1alpha1"
CUSTOM_METRICS = "custom.metrics.k8s.io"
#: What workers say of their load: pairs asked of one in a second, by those that it can score in a second.
LOAD = "reranker_load_ratio"
#: How often KEDA asks whether a model that sleeps is to wake; a third of its own default, since a client waits.
POLLING_S = 10
#: Conditions that are False while an autoscaler doesn't set the number of pods; older KEDAs have no HPAActive.
HEALTH = {Kind.SCALED_OBJECT: ("Ready", "HPAActive"), Kind.AUTOSCALER: ("ScalingActive",)}
#: Reasons that are a matter of course while no pod tells of its load: asleep, or on its way.
WITHOUT_PODS = re.compile("ScalingDisabled|TriggerError|FailedGet[A-Za-z]*Metric")
#: From when on these are of a time with a pod: KEDA and Kubernetes' autoscaler have looked again, metrics are there.
KNOWN_AFTER = timedelta(seconds=90)


def children(world: World, flip: Flip) -> dict[Kind, Document]:
    """The autoscaler and what it needs; nothing where the spec asks for none."""
    model, wanted = world.model, world.model.spec.autoscaling
    if wanted is None:
        return {}
    if KEDA in world.apis:
        return {
            Kind.INTERNAL_SERVICE: _internal_service(model, flip),
            Kind.SCALED_OBJECT: _scaled_object(model, wanted),
        }
    return {Kind.AUTOSCALER: _horizontal(world, wanted)}


def fact(world: World) -> Fact | None:
    """Whether the number of pods is set as the spec asks, and by what; None where it asks for nothing."""
    wanted = world.model.spec.autoscaling
    if wanted is None:
        return None
    keda = KEDA in world.apis
    kinds = (Kind.INTERNAL_SERVICE, Kind.SCALED_OBJECT) if keda else (Kind.AUTOSCALER,)
    problem = ownership.accessory_problem(world, *kinds)
    if problem is not None:
        return Fact(AUTOSCALING, False, problem.reason, problem.message)
    bounds = f"{wanted.min_replicas} to {wanted.max_replicas} pods"
    if world.model.spec.pods == 0 and wanted.min_replicas > 0:
        # Kubernetes' autoscaler rests at 0, and KEDA has no worker to ask: at most another trigger wakes the model.
        message = f"spec.replicas is 0, which no load raises: set it to {wanted.min_replicas} for {bounds}"
        return Fact(AUTOSCALING, False, "SwitchedOff", message)
    if keda:
        others = ", ".join([LOAD, *(trigger.type for trigger in wanted.triggers)])
        found = Fact(AUTOSCALING, True, Kind.SCALED_OBJECT, f"{bounds}, by {others}")
        return _complaint(world, Kind.SCALED_OBJECT) or found
    if wanted.min_replicas == 0 or wanted.triggers:
        sleeps = "nothing wakes the model, which has no pod: set spec.replicas, or"
        limits = f"a {kinds[0]} keeps 1 pod at least and knows no triggers;"
        message = f"{KEDA} isn't served: {limits if world.model.spec.pods else sleeps} install KEDA"
        return Fact(AUTOSCALING, False, "KedaMissing", message)
    found = _by_what(world, bounds)
    return (_complaint(world, Kind.AUTOSCALER) or found) if found.holds else found


def _complaint(world: World, kind: Kind) -> Fact | None:
    """What the live object says of itself where it doesn't work; a load that no pod could have told of is none."""
    status = world.children.get(kind, {}).get("status") or {}
    served = any(pod.ready_since and world.now - pod.ready_since > KNOWN_AFTER for pod in reached_pods(world))
    for name in HEALTH[kind]:
        said = condition(status, name)
        if said.get("status") == "False" and (served or not WITHOUT_PODS.match(said.get("reason", ""))):
            reason = said.get("reason") or f"Not{name}"
            return Fact(AUTOSCALING, False, reason, f"{kind} {world.model.key.name}: {said.get('message', '')}")
    return None


def _by_what(world: World, bounds: str) -> Fact:
    """What Kubernetes' own autoscaler goes by."""
    if CUSTOM_METRICS in world.apis:
        return Fact(AUTOSCALING, True, Kind.AUTOSCALER, f"{bounds}, by {LOAD}")
    if _by_cpu(world):
        return Fact(AUTOSCALING, True, Kind.AUTOSCALER, f"{bounds}, by CPU: {CUSTOM_METRICS} isn't served")
    message = f"{CUSTOM_METRICS} isn't served, so nothing tells of {LOAD}: install KEDA or an adapter for Prometheus"
    return Fact(AUTOSCALING, False, "MetricsMissing", message)


def _target(model: Model) -> Document:
    return {"apiVersion": API_VERSION, "kind": KIND, "name": model.key.name}


def _horizontal(world: World, wanted: Autoscaling) -> Document:
    model = world.model
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": ownership.metadata(model, Kind.AUTOSCALER),
        "spec": {
            "scaleTargetRef": _target(model),
            "minReplicas": max(wanted.min_replicas, 1),
            "maxReplicas": wanted.max_replicas,
            "metrics": [_cpu_metric(wanted) if _by_cpu(world) else _load_metric(wanted)],
        },
    }


def _by_cpu(world: World) -> bool:
    """Whether the CPU tells of the load: it is what scores, and nothing serves the workers' own figure."""
    amounts = {**world.model.spec.resources.limits, **world.model.spec.resources.requests}
    return CUSTOM_METRICS not in world.apis and "cpu" in amounts and not on_gpu(amounts)


def _load_metric(wanted: Autoscaling) -> Document:
    target = {"type": "AverageValue", "averageValue": f"{10 * wanted.target_load_percent}m"}
    return {"type": "Pods", "pods": {"metric": {"name": LOAD}, "target": target}}


def _cpu_metric(wanted: Autoscaling) -> Document:
    target = {"type": "Utilization", "averageUtilization": wanted.target_load_percent}
    return {
        "type": "ContainerResource",
        "containerResource": {"container": names.SERVER, "name": "cpu", "target": target},
    }


def _scaled_object(model: Model, wanted: Autoscaling) -> Document:
    return {
        "apiVersion": KEDA,
        "kind": "ScaledObject",
        "metadata": ownership.metadata(model, Kind.SCALED_OBJECT),
        "spec": {
            "scaleTargetRef": _target(model),
            "minReplicaCount": wanted.min_replicas,
            "maxReplicaCount": wanted.max_replicas,
            "cooldownPeriod": wanted.idle_seconds,
            "pollingInterval": POLLING_S,
            "triggers": [_load_trigger(model, wanted), *map(_trigger, wanted.triggers)],
        },
    }


def _load_trigger(model: Model, wanted: Autoscaling) -> Document:
    """KEDA asks every ready worker itself, so that no Prometheus is needed; pods by the sum of what they say."""
    service = names.internal_service(model.key.name)
    return {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {
            # KEDA takes what stands between the first two dots for the namespace: without .svc the port would be in it.
            "url": f"http://{service}.{model.key.namespace}.svc:{names.INTERNAL_PORT}/metrics",
            "format": "prometheus",
            "valueLocation": LOAD,
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
            "targetValue": f"{wanted.target_load_percent / 100:g}",
        },
    }


def _trigger(trigger: Trigger) -> Document:
    return {"type": trigger.type, "metadata": dict(trigger.metadata)}


def _internal_service(model: Model, flip: Flip) -> Document:
    """Where KEDA reads which pods to ask: those that clients reach. Without an address: nothing is forwarded by it."""
    port = {"name": "internal", "port": names.INTERNAL_PORT, "protocol": "TCP", "targetPort": "internal"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": ownership.metadata(model, Kind.INTERNAL_SERVICE),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "selector": names.fleet_labels(model.key.name, flip.active),
            "ports": [port],
        },
    }
