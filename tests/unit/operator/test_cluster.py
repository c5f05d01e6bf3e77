"""What is sent to the API server, beside what a plan says."""

from typing import Any, cast

import pytest

from reranker_operator.api import Api
from reranker_operator.cluster import Cluster
from reranker_operator.world.actions import Announce, Event, Resize
from reranker_operator.world.state import Kind
from tests.unit.operator.worlds import KEY, model


class Posts:
    """An API server that keeps what is created, and which patches are urgent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.urgent: list[bool] = []

    async def create(self, _resource: str, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        return body

    async def merge(self, _resource: str, _path: str, body: dict[str, Any], *, urgent: bool = False) -> dict[str, Any]:
        self.urgent.append(urgent)
        return body


@pytest.mark.parametrize(
    ("message", "note"),
    [
        pytest.param("a" * 1024, "a" * 1024, id="fits"),
        pytest.param("a" * 1025, "a" * 1024, id="cut"),
        pytest.param("a" + "…" * 341, "a" + "…" * 341, id="fits in bytes"),
        pytest.param("aa" + "…" * 341, "aa" + "…" * 340, id="cut before a character that is in part beyond"),
        pytest.param("😀" * 300, "😀" * 256, id="cut in bytes"),
    ],
)
async def test_an_events_note_has_no_more_bytes_than_the_api_server_takes(message: str, note: str) -> None:
    posts = Posts()
    await Cluster(cast("Api", posts), "me").emit(model().reference, Event("Normal", "Reason", message))
    (body,) = posts.bodies
    assert body["note"] == note
    assert len(body["note"].encode()) <= 1024


async def test_pods_are_told_of_the_manifest_without_waiting_for_a_turn() -> None:
    posts = Posts()
    told = Announce("a", "{}", "pod a is told")
    await Cluster(cast("Api", posts), "me").execute(KEY, [told])
    assert posts.urgent == [True]
    await Cluster(cast("Api", posts), "me").execute(KEY, [Resize(Kind.DEPLOYMENT, {}, "2 pods")])
    assert posts.urgent == [True, False]
