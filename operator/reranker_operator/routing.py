"""The ways to a model beside its Service: an HTTPRoute through Gateways, a Service of addresses. No I/O."""

from collections.abc import Iterator

from reranker_operator import names, ownership
from reranker_operator.colours import Flip
from reranker_operator.facts import Fact
from reranker_operator.names import Document
from reranker_operator.rollout import served_name
from reranker_operator.routing_policy import Route
from reranker_operator.state import Kind, Model, World

CONDITION = "Routed"
GATEWAY = "gateway.networking.k8s.io/v1"
#: What a Gateway says of a route that it has seen.
ACCEPTED, RESOLVED = "Accepted", "ResolvedRefs"
#: Paths that name the model, so that models can share a host name.
NAMING = ("/v1/score", "/v1/models")


def children(world: World, flip: Flip) -> dict[Kind, Document]:
    """What the spec asks for and the cluster can have."""
    model, found = world.model, dict[Kind, Document]()
    if model.spec.service.headless:
        found[Kind.HEADLESS_SERVICE] = _headless_service(model, flip)
    if model.spec.route is not None and GATEWAY in world.apis:
        found[Kind.HTTP_ROUTE] = _http_route(model, model.spec.route)
    return found


def fact(world: World) -> Fact | None:
    """Whether Gateways lead to the model; None where the spec names none."""
    route = world.model.spec.route
    if route is None:
        return None
    if GATEWAY not in world.apis:
        return Fact(CONDITION, False, "GatewayApiMissing", f"{GATEWAY} isn't served: install the Gateway API's CRDs")
    problem = ownership.accessory_problem(world, Kind.HTTP_ROUTE)
    if problem is not None:
        return Fact(CONDITION, False, problem.reason, problem.message)
    return _what_gateways_say(world, route)


def _what_gateways_say(world: World, route: Route) -> Fact:
    parents = world.children.get(Kind.HTTP_ROUTE, {}).get("status", {}).get("parents") or ()
    said = [c for parent in parents for c in parent.get("conditions", ()) if c["type"] in (ACCEPTED, RESOLVED)]
    refused = next((c for c in said if c["status"] == "False"), None)
    if refused is not None:
        return Fact(CONDITION, False, str(refused["reason"]), str(refused["message"]))
    taken = sum(c["type"] == ACCEPTED for c in said)
    if taken < len(route.parent_refs):
        message = f"{taken} of {len(route.parent_refs)} Gateways have taken the HTTPRoute"
        return Fact(CONDITION, False, "WaitingForGateway", message)
    where = ", ".join(route.hostnames) or ", ".join(_paths(world.model))
    return Fact(CONDITION, True, Kind.HTTP_ROUTE, f"Gateways lead to the model: {where}")


def _http_route(model: Model, route: Route) -> Document:
    return {
        "apiVersion": GATEWAY,
        "kind": "HTTPRoute",
        "metadata": ownership.metadata(model, Kind.HTTP_ROUTE),
        "spec": {
            "parentRefs": [parent.model_dump(by_alias=True, exclude_none=True) for parent in route.parent_refs],
            **({"hostnames": list(route.hostnames)} if route.hostnames else {}),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in _prefixes(model, route)],
                    "backendRefs": [{"name": model.key.name, "port": names.CLIENT_PORT}],
                }
            ],
        },
    }


def _prefixes(model: Model, route: Route) -> Iterator[str]:
    return iter(("/",)) if route.hostnames else _paths(model)


def _paths(model: Model) -> Iterator[str]:
    name = served_name(model, model.spec.source.uri)
    return (f"{path}/{name}" for path in NAMING)


def _headless_service(model: Model, flip: Flip) -> Document:
    """Resolves to the ready pods of the fleet that clients reach."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": ownership.metadata(model, Kind.HEADLESS_SERVICE),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "selector": names.fleet_labels(model.key.name, flip.active),
            "ports": [{"name": "http", "port": names.CLIENT_PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }
