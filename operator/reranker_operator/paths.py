"""Where the API server has each object: the paths of models, of their children and of their revisions. No I/O."""

from reranker_operator.resources.v1alpha1 import GROUP, PLURAL, VERSION
from reranker_operator.world.names import Key
from reranker_operator.world.state import Kind, child_name

#: The API and the plural of each kind of child.
RESOURCES = {
    Kind.CONFIG_MAP: ("/api/v1", "configmaps"),
    Kind.DEPLOYMENT: ("/apis/apps/v1", "deployments"),
    Kind.GREEN_DEPLOYMENT: ("/apis/apps/v1", "deployments"),
    Kind.SERVICE: ("/api/v1", "services"),
    Kind.POD_DISRUPTION_BUDGET: ("/apis/policy/v1", "poddisruptionbudgets"),
    Kind.INTERNAL_SERVICE: ("/api/v1", "services"),
    Kind.AUTOSCALER: ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    Kind.SCALED_OBJECT: ("/apis/keda.sh/v1alpha1", "scaledobjects"),
    Kind.HEADLESS_SERVICE: ("/api/v1", "services"),
    Kind.HTTP_ROUTE: ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
}
REVISIONS = ("/apis/apps/v1", "controllerrevisions")
MODELS = f"/apis/{GROUP}/{VERSION}"


def model_path(key: Key) -> str:
    return f"{MODELS}/namespaces/{key.namespace}/{PLURAL}/{key.name}"


def revision_path(key: Key, name: str = "") -> str:
    prefix, plural = REVISIONS
    return f"{prefix}/namespaces/{key.namespace}/{plural}" + (f"/{name}" if name else "")


def child_path(key: Key, kind: Kind) -> str:
    prefix, plural = RESOURCES[kind]
    return f"{prefix}/namespaces/{key.namespace}/{plural}/{child_name(kind, key.name)}"
