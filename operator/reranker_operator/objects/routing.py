"""The ways to a model beside its Service: an HTTPRoute through Gateways, a Service of addresses. No I/O."""

from reranker_operator.objects import ownership
from reranker_operator.resources.routing_policy import Route
from reranker_operator.world import names
from reranker_operator.world.colours import Flip
from reranker_operator.world.facts import ROUTED, Fact
from reranker_operator.world.names import Document
from reranker_operator.world.state import Kind, Model, World

GATEWAY = "gateway.networking.k8s.io/v1"
#: What a Gateway says of a route that it has seen.
ACCEPTED, RESOLVED = "Accepted", "ResolvedRefs"
#: Paths that name the model, so that models can share a host name.
NAMING = ("/v1/score", "/v1/models")


def children(world: World, flip: Flip, served_name: str) -> dict[Kind, Document]:
    """What the spec asks for and the cluster can have; served_name: what workers call the model by now."""
    model, found = world.model, dict[Kind, Document]()
    if model.spec.service.headless:
        found[Kind.HEADLESS_SERVICE] = _headless_service(model, flip)
    if model.spec.route is not None and GATEWAY in world.apis:
        found[Kind.HTTP_ROUTE] = _http_route(model, model.spec.route, served_name)
    return found


def fact(world: World) -> Fact | None:
    """Whether Gateways lead to the model; None where the spec names none."""
    route = world.model.spec.route
    if route is None:
        return None
    if GATEWAY not in world.apis:
        return Fact(ROUTED, False, "GatewayApiMissing", f"{GATEWAY} isn't served: install the Gateway API's CRDs")
    problem = ownership.accessory_problem(world, Kind.HTTP_ROUTE)
    if problem is not None:
        return Fact(ROUTED, False, problem.reason, problem.message)
    return _what_gateways_say(world, route)


def _what_gateways_say(world: World, route: Route) -> Fact:
    live = world.children.get(Kind.HTTP_ROUTE, {})
    parents = live.get("status", {}).get("parents") or ()
    said = [c for parent in parents for c in parent.get("conditions", ()) if c["type"] in (ACCEPTED, RESOLVED)]
    refused = next((c for c in said if c["status"] == "False"), None)
    if refused is not None:
        return Fact(ROUTED, False, str(refused["reason"]), str(refused["message"]))
    taken = sum(c["type"] == ACCEPTED for c in said)
    if taken < len(route.parent_refs):
        message = f"{taken} of {len(route.parent_refs)} Gateways have taken the HTTPRoute"
        return Fact(ROUTED, False, "WaitingForGateway", message)
    where = ", ".join(route.hostnames or _prefixes_of(live))
    return Fact(ROUTED, True, Kind.HTTP_ROUTE, f"Gateways lead to the model: {where}")


def _http_route(model: Model, route: Route, served_name: str) -> Document:
    prefixes = ["/"] if route.hostnames else [f"{path}/{served_name}" for path in NAMING]
    return {
        "apiVersion": GATEWAY,
        "kind": "HTTPRoute",
        "metadata": ownership.metadata(model, Kind.HTTP_ROUTE),
        "spec": {
            "parentRefs": [parent.model_dump(by_alias=True, exclude_none=True) for parent in route.parent_refs],
            **({"hostnames": list(route.hostnames)} if route.hostnames else {}),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in prefixes],
                    "backendRefs": [{"name": model.key.name, "port": names.CLIENT_PORT}],
                    # Not every Gateway knows timeouts, and one that doesn't may refuse the route.
                    **({"timeouts": {"request": f"{route.timeout_seconds}s"}} if route.timeout_seconds else {}),
                }
            ],
        },
    }


def _prefixes_of(live: Document) -> list[str]:
    rules = live.get("spec", {}).get("rules") or ()
    return [match["path"]["value"] for rule in rules for match in rule.get("matches") or () if "path" in match]


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
