"""Where the API server has each object that the operator reads or writes. No I/O."""

from reranker_operator.resources.v1alpha1 import GROUP, PLURAL, VERSION
from reranker_operator.world.names import Key
from reranker_operator.world.state import Kind, child_name

CORE, APPS, OURS = "/api/v1", "/apis/apps/v1", f"/apis/{GROUP}/{VERSION}"
EVENTS, LEASES = "/apis/events.k8s.io/v1", "/apis/coordination.k8s.io/v1"

#: The API and the plural of each kind of child.
RESOURCES = {
    Kind.CONFIG_MAP: (CORE, "configmaps"),
    Kind.DEPLOYMENT: (APPS, "deployments"),
    Kind.GREEN_DEPLOYMENT: (APPS, "deployments"),
    Kind.SERVICE: (CORE, "services"),
    Kind.POD_DISRUPTION_BUDGET: ("/apis/policy/v1", "poddisruptionbudgets"),
    Kind.INTERNAL_SERVICE: (CORE, "services"),
    Kind.AUTOSCALER: ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    Kind.SCALED_OBJECT: ("/apis/keda.sh/v1alpha1", "scaledobjects"),
    Kind.HEADLESS_SERVICE: (CORE, "services"),
    Kind.HTTP_ROUTE: ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
}
REVISIONS = (APPS, "controllerrevisions")


def objects_path(prefix: str, namespace: str, plural: str, name: str = "") -> str:
    """The path of an object, or without a name of all of its kind in the namespace."""
    return f"{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def model_path(key: Key) -> str:
    return objects_path(OURS, key.namespace, PLURAL, key.name)


def revision_path(key: Key, name: str = "") -> str:
    prefix, plural = REVISIONS
    return objects_path(prefix, key.namespace, plural, name)


def child_path(key: Key, kind: Kind) -> str:
    prefix, plural = RESOURCES[kind]
    return objects_path(prefix, key.namespace, plural, child_name(kind, key.name))
