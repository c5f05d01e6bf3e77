"""What is listed where the operator may read some namespaces and not others; the API server is a script here."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import AsyncMock

import pytest

from reranker_operator.api import Api
from reranker_operator.cluster import Cluster
from reranker_operator.errors import OperatorError, Refused, Unreachable
from reranker_operator.listing import Listing
from reranker_operator.world.names import Document, Key

NO_RIGHTS = Refused("GET things", 403, "forbidden")


def api(answers: Mapping[str, list[str] | OperatorError]) -> Any:
    """An API server that lists things of these names, by what comes before the kind in the path."""

    async def get(_resource: str, path: str, _query: object = None) -> Document:
        answer = answers[path.rpartition("/")[0].rpartition("/")[2]]
        if isinstance(answer, OperatorError):
            raise answer
        return {"items": [{"metadata": {"namespace": "n", "name": name}} for name in answer]}

    found = AsyncMock(spec=Api)
    found.get.side_effect = get
    return found


async def listed(answers: Mapping[str, list[str] | OperatorError]) -> tuple[list[str], frozenset[str]]:
    listing = Listing(api(answers), "/apis/g/v", "things", list(answers))
    return [each["metadata"]["name"] for each in await listing.items()], listing.unreadable


async def test_a_namespace_without_rights_holds_up_no_other() -> None:
    assert await listed({"a": ["one"], "gone": NO_RIGHTS, "b": ["two"]}) == (["one", "two"], frozenset({"gone"}))


async def test_a_namespace_that_can_be_read_again_is_listed_again() -> None:
    answers: dict[str, list[str] | OperatorError] = {"a": ["one"], "gone": NO_RIGHTS}
    cluster = Cluster(api(answers), "test", list(answers))
    assert await cluster.models() == [Key("n", "one")]
    assert cluster.watchable() == ("a",)
    answers["gone"] = ["two"]
    assert await cluster.models() == [Key("n", "one"), Key("n", "two")]
    assert cluster.watchable() == ("a", "gone")


def test_without_namespaces_all_are_watched() -> None:
    assert Cluster(api({}), "test").watchable() is None


FAILING: dict[str, Mapping[str, list[str] | OperatorError]] = {
    "no namespace can be read": {"a": NO_RIGHTS, "b": NO_RIGHTS},
    "the API server is away": {"a": ["one"], "b": Unreachable("no answer")},
    "the kind isn't served": {"a": ["one"], "b": Refused("GET things", 404, "not found")},
}


@pytest.mark.parametrize("answers", FAILING.values(), ids=FAILING.keys())
async def test_nothing_is_listed_where(answers: Mapping[str, list[str] | OperatorError]) -> None:
    with pytest.raises(OperatorError):
        await listed(answers)
