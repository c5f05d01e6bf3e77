"""The OpenAPI page: it has every route, its examples are what the worker takes, and what it answers."""

from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from reranker_worker.settings import ServeSettings
from reranker_worker.web.openapi import ENDPOINTS, Endpoint, Exchange, openapi_document
from reranker_worker.web.routes import ClientRoutes
from tests.fixtures.client_port import SETTINGS, http, length_worker

EXCHANGES = [
    pytest.param(endpoint, exchange, id=f"{endpoint.paths[0]} {exchange.client}")
    for endpoint in ENDPOINTS
    for exchange in endpoint.exchanges
]
THEMSELVES = {"/openapi.json", "/docs", "/playground"}


def test_the_document_follows_the_specification() -> None:
    document = OpenAPI.model_validate(openapi_document("1.0"))
    assert document.info.version == "1.0"


def test_every_route_is_described() -> None:
    router = ClientRoutes(length_worker(), ServeSettings(**SETTINGS)).router()
    routes = {route.path.replace(":path", "") for route in router.routes}  # type: ignore[attr-defined]
    assert routes - THEMSELVES == set(openapi_document("1.0")["paths"])


@pytest.mark.parametrize(("endpoint", "exchange"), EXCHANGES)
async def test_an_example_is_answered_in_the_shape_that_the_page_shows(endpoint: Endpoint, exchange: Exchange) -> None:
    async with http(length_worker()) as client:
        for path in endpoint.paths:
            url = path.replace("{model}", "acme/ranker")
            response = await client.post(url, json=dict(exchange.asked), headers={"accept": "application/json"})
            assert response.status_code == 200
            assert shape(response.json()) == shape(exchange.answered)


async def test_the_page_and_its_document_are_served() -> None:
    async with http(length_worker()) as client:
        document = (await client.get("/openapi.json")).json()
        page = (await client.get("/docs")).text
    assert document["info"]["title"] == "reranker-worker"
    assert "openapi.json" in page


def shape(content: Any) -> Any:
    """Return the keys of objects, all the way down, and the types of what they hold."""
    match content:
        case dict():
            return {key: shape(value) for key, value in content.items()}
        case list():
            return [shape(entry) for entry in content]
        case _:
            return type(content)
