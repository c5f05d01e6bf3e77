"""The ways to a model through Gateways, and what the status says of them."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.objects import routing
from reranker_operator.objects.routing import GATEWAY
from reranker_operator.status import conditions
from reranker_operator.world.actions import Apply, Remove
from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.facts import Fact, condition
from reranker_operator.world.state import Kind, World
from tests.unit.operator.worlds import applied, edited, empty, goal, model, serving_world

PUBLIC = {"parentRefs": [{"name": "public", "namespace": "gateways"}]}
HOST = {**PUBLIC, "hostnames": ["bge.example.com"]}


def world_of(**spec: Any) -> World:
    return replace(empty(model(**spec)), apis=frozenset({GATEWAY}))


def rules(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = goal(world).children[Kind.HTTP_ROUTE]["spec"]["rules"]
    return found


def fact(world: World) -> Fact:
    found = routing.fact(world)
    assert found is not None
    return found


def said(world: World, *parents: list[dict[str, str]]) -> World:
    """The world once controllers of Gateways have written the route's status."""
    world = applied(world)
    status = {"parents": [{"conditions": each} for each in parents]}
    return replace(
        world, children={**world.children, Kind.HTTP_ROUTE: {**world.children[Kind.HTTP_ROUTE], "status": status}}
    )


def says(kind: str, status: str, reason: str = "Accepted") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": f"{kind} is {status}"}


def test_a_host_name_of_its_own_leads_every_path_to_the_model() -> None:
    world = world_of(route=HOST)
    spec = goal(world).children[Kind.HTTP_ROUTE]["spec"]
    assert spec["hostnames"] == ["bge.example.com"]
    assert spec["parentRefs"] == PUBLIC["parentRefs"]
    [rule] = rules(world)
    assert [match["path"]["value"] for match in rule["matches"]] == ["/"]
    assert rule["backendRefs"] == [{"name": "bge", "port": 8080}]


def test_a_timeout_is_in_the_route_only_where_one_is_asked_for() -> None:
    [without], [rule] = rules(world_of(route=HOST)), rules(world_of(route={**HOST, "timeoutSeconds": 75}))
    assert "timeouts" not in without
    assert rule["timeouts"] == {"request": "75s"}


#: The spec's timeout before and after, what somebody else made of it in the HTTPRoute, whether it is written anew.
TIMEOUTS: dict[str, tuple[int | None, int | None, dict[str, str] | None, bool]] = {
    "as it was": (75, 75, {"request": "75s"}, False),
    "another one": (75, 90, {"request": "75s"}, True),
    "none any more": (75, None, {"request": "75s"}, True),
    "one for the first time": (None, 75, None, True),
    "somebody else changed it": (75, 75, {"request": "15s"}, True),
    "somebody else took it out": (75, 75, None, True),
    "somebody else's beside none": (None, None, {"request": "90s"}, False),
}


@pytest.mark.parametrize(("before", "after", "live", "written"), TIMEOUTS.values(), ids=TIMEOUTS.keys())
def test_a_route_is_written_where_its_timeout_differs(
    before: int | None, after: int | None, live: dict[str, str] | None, written: bool
) -> None:
    world = applied(world_of(route={**HOST, "timeoutSeconds": before}))
    route = copy.deepcopy(world.children[Kind.HTTP_ROUTE])
    route["spec"]["rules"][0].pop("timeouts", None)
    route["spec"]["rules"][0].update({"timeouts": live} if live else {})
    world = replace(world, children={**world.children, Kind.HTTP_ROUTE: route})
    world = replace(world, model=model(route={**HOST, "timeoutSeconds": after}))
    assert (Kind.HTTP_ROUTE in [a.kind for a in plan(world, goal(world)) if isinstance(a, Apply)]) is written


@pytest.mark.parametrize(
    ("spec", "name"),
    [({}, "bge"), ({"servedName": "BAAI/bge"}, "BAAI/bge"), ({"uri": "hf://acme/ranker"}, "acme/ranker")],
    ids=["the resource's", "as given", "the hub's"],
)
def test_on_a_shared_host_name_the_path_names_the_model(spec: dict[str, Any], name: str) -> None:
    world = world_of(route=PUBLIC, **spec)
    assert "hostnames" not in goal(world).children[Kind.HTTP_ROUTE]["spec"]
    [rule] = rules(world)
    assert [match["path"] for match in rule["matches"]] == [
        {"type": "PathPrefix", "value": f"/v1/score/{name}"},
        {"type": "PathPrefix", "value": f"/v1/models/{name}"},
    ]


def test_while_a_revision_is_fetched_ahead_the_path_is_of_the_name_that_workers_answer_to() -> None:
    cache = {"type": "PersistentVolumeClaim", "claimName": "models", "prefetch": True}
    world = replace(serving_world(model("hf://acme/one", route=PUBLIC, cache=cache)), apis=frozenset({GATEWAY}))
    world = edited(applied(world), model("hf://acme/two", route=PUBLIC, cache=cache))
    wanted = goal(world)
    assert wanted.prefetched
    assert wanted.manifest.served_name == "acme/one"
    assert [match["path"]["value"] for match in rules(world)[0]["matches"]] == [
        "/v1/score/acme/one",
        "/v1/models/acme/one",
    ]


def test_on_a_shared_host_name_the_status_names_the_paths() -> None:
    found = fact(said(world_of(route=PUBLIC), [ACCEPTED]))
    assert found.message == "Gateways lead to the model: /v1/score/bge, /v1/models/bge"


def test_without_the_gateway_api_there_is_no_route_and_the_status_says_why() -> None:
    world = empty(model(route=HOST))
    assert Kind.HTTP_ROUTE not in goal(world).children
    found = condition(conditions.status(world, goal(world), world.now), "Routed")
    assert (found["status"], found["reason"]) == ("False", "GatewayApiMissing")


ACCEPTED = says("Accepted", "True")
BAD_HOST = says("Accepted", "False", "NoMatchingListenerHostname")
NO_BACKEND = says("ResolvedRefs", "False", "BackendNotFound")
UNRELATED = says("Programmed", "False", "Whatever")

ANSWERS: dict[str, tuple[list[list[dict[str, str]]], tuple[bool, str]]] = {
    "nobody yet": ([], (False, "WaitingForGateway")),
    "a Gateway takes it": ([[ACCEPTED, says("ResolvedRefs", "True")]], (True, "HTTPRoute")),
    "a Gateway takes it and says more": ([[ACCEPTED, UNRELATED]], (True, "HTTPRoute")),
    "a Gateway refuses it": ([[BAD_HOST]], (False, "NoMatchingListenerHostname")),
    "one of two refuses it": ([[ACCEPTED], [BAD_HOST]], (False, "NoMatchingListenerHostname")),
    "the Service isn't found": ([[ACCEPTED, NO_BACKEND]], (False, "BackendNotFound")),
}


@pytest.mark.parametrize(("parents", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
def test_the_status_says_what_gateways_say(parents: list[list[dict[str, str]]], expected: tuple[bool, str]) -> None:
    found = fact(said(world_of(route=HOST), *parents))
    assert (found.holds, found.reason) == expected


def test_with_two_gateways_both_have_to_take_it() -> None:
    both = {"parentRefs": [{"name": "public"}, {"name": "internal"}]}
    assert fact(said(world_of(route=both), [ACCEPTED])).reason == "WaitingForGateway"
    assert fact(said(world_of(route=both), [ACCEPTED], [ACCEPTED])).holds


def test_a_refused_route_is_told_in_the_words_of_the_api_server() -> None:
    found = fact(replace(world_of(route=HOST), refused={Kind.HTTP_ROUTE: "hostnames: too many"}))
    assert (found.holds, found.reason, found.message) == (False, "Refused", "HTTPRoute bge: hostnames: too many")


def test_a_route_that_isn_t_asked_for_any_more_goes() -> None:
    world = edited(applied(world_of(route=HOST, service={"headless": True})), model())
    removed = [action.kind for action in plan(world, goal(world)) if isinstance(action, Remove)]
    assert removed == [Kind.HEADLESS_SERVICE, Kind.HTTP_ROUTE]


def test_a_service_of_addresses_has_the_pods_that_clients_reach() -> None:
    children = routing.children(world_of(service={"headless": True}), Flip(Colour.GREEN), "bge")
    [service] = children.values()
    assert service["metadata"]["name"] == "bge-headless"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"reranker.dev/model": "bge", "reranker.dev/fleet": "green"}
