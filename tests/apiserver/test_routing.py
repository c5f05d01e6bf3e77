"""Routes through Gateways on a real API server with the Gateway API's own CRDs; the tests play the Gateway."""

from collections.abc import Iterator

import pytest
from kubernetes.client import ApiClient

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Kube, eventually
from tests.apiserver.models import condition, edit, model, until_event, until_ready, until_reason
from tests.apiserver.operators import MARKS, Running, rested
from tests.apiserver.published import GATEWAY_API, GATEWAY_API_VERSION, crds, served

pytestmark = MARKS

PUBLIC = {"parentRefs": [{"name": "public", "namespace": "gateways"}]}
HOST = {**PUBLIC, "hostnames": ["bge.example.com"], "timeoutSeconds": 75}


@pytest.fixture
def gateway_api(api: ApiClient) -> Iterator[None]:
    """Kinds of the Gateway API, without a Gateway."""
    with served(api, crds(GATEWAY_API, GATEWAY_API_VERSION, "config/crd/standard/*_httproutes.yaml")):
        yield


async def accept(kube: Kube, status: str, reason: str) -> None:
    """What a Gateway's controller writes."""
    live = await kube.get("httproutes", "bge")
    assert live is not None
    said = {
        "type": "Accepted",
        "status": status,
        "reason": reason,
        "message": "the listener's host name is *.example.org",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    parent = {"parentRef": PUBLIC["parentRefs"][0], "controllerName": "example.com/gateway", "conditions": [said]}
    await kube.patch("httproutes", "bge", {"status": {"parents": [parent]}}, "status")


async def test_a_route_is_made_followed_changed_and_removed(
    kube: Kube, fleet: Fleet, running: Running, gateway_api: None
) -> None:
    created = await kube.create("rerankermodels", model(route=HOST))
    await until_reason(kube, "Routed", "WaitingForGateway")
    live = await kube.get("httproutes", "bge")
    assert live is not None
    assert [owner["uid"] for owner in live["metadata"]["ownerReferences"]] == [created["metadata"]["uid"]]
    assert live["spec"]["hostnames"] == ["bge.example.com"]
    assert [rule["timeouts"] for rule in live["spec"]["rules"]] == [{"request": "75s"}]
    await accept(kube, "False", "NoMatchingListenerHostname")
    await edit(kube, route={**PUBLIC, "hostnames": None}, servedName="BAAI/bge")
    found = await until_reason(kube, "Routed", "NoMatchingListenerHostname")
    assert found["message"] == "the listener's host name is *.example.org"

    async def by_path() -> bool:
        live = await kube.get("httproutes", "bge")
        assert live is not None
        paths = [match["path"]["value"] for rule in live["spec"]["rules"] for match in rule["matches"]]
        return "hostnames" not in live["spec"] and paths == ["/v1/score/BAAI/bge", "/v1/models/BAAI/bge"]

    await eventually(by_path, what="a route by path")
    await accept(kube, "True", "Accepted")
    await edit(kube, revisionHistoryLimit=5)
    await until_reason(kube, "Routed", "HTTPRoute")
    await until_ready(kube)
    before = await rested(kube, running)
    assert await rested(kube, running) == before
    await edit(kube, route=None)

    async def gone() -> bool:
        return await kube.get("httproutes", "bge") is None

    await eventually(gone, what="no route")
    assert condition(await until_ready(kube), "Routed") == {}


async def test_a_route_that_the_api_server_refuses_holds_up_nothing(
    kube: Kube, fleet: Fleet, running: Running, gateway_api: None
) -> None:
    await kube.create("rerankermodels", model(route=PUBLIC, servedName="acme//bge"))
    found = await until_reason(kube, "Routed", "Refused")
    assert "must not contain '//'" in found["message"]
    await until_ready(kube)
    await until_event(kube, "Refused")
    await edit(kube, servedName="acme/bge")
    await until_reason(kube, "Routed", "WaitingForGateway")


async def test_without_the_gateway_api_the_model_serves_and_says_what_is_missing(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(route=HOST))
    live = await until_ready(kube)
    assert condition(live, "Routed")["reason"] == "GatewayApiMissing"
    await until_event(kube, "GatewayApiMissing")


async def test_a_service_of_addresses_comes_and_goes(kube: Kube, fleet: Fleet, running: Running) -> None:
    await kube.create("rerankermodels", model(service={"headless": True}))
    await until_ready(kube)
    service = await kube.get("services", "bge-headless")
    assert service is not None
    assert service["spec"]["clusterIP"] == "None"
    assert [port["port"] for port in service["spec"]["ports"]] == [8080]
    await edit(kube, service=None)

    async def gone() -> bool:
        return await kube.get("services", "bge-headless") is None

    await eventually(gone, what="no Service of addresses")
