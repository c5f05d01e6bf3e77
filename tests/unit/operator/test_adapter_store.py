"""When RerankerAdapters are listed: once for many reconciles, and anew after each change; the API server is a fake."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reranker_operator.adapter_store import KEPT_S, AdapterStore
from reranker_operator.errors import Conflict, Unreachable
from reranker_operator.world.names import Document, Key
from tests.unit.operator.test_adapters import live, resource
from tests.unit.operator.worlds import KEY


class Fake:
    """An API server with adapters in namespaces, and how often it was asked for a list."""

    def __init__(self, namespaces: Sequence[str], *adapters: Document) -> None:
        self.adapters = list(adapters)
        self.asked = 0
        self.now = 0.0
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.store = AdapterStore(self, namespaces, lambda: self.now)  # type: ignore[arg-type]

    async def get(self, _resource: str, path: str, _query: object = None) -> Document:
        self.asked += 1
        found = [each for each in self.adapters if f"/{each['metadata']['namespace']}/" in path]
        await asyncio.sleep(0)
        self.meanwhile()
        if self.away:
            raise Unreachable(f"GET {path}")
        return {"items": found}

    async def merge(self, *_: Any) -> None:
        raise Conflict("PATCH", 409, "modified")

    async def named(self, key: Key = KEY) -> list[str]:
        return sorted(map(str, await self.store.naming(key)))


@pytest.fixture
def fake() -> Fake:
    return Fake(["search", "team-b"], live("legal"), live("tax", "team-b"))


BOTH = ["search/legal", "team-b/tax"]


async def test_reconciles_share_a_listing_of_several_namespaces(fake: Fake) -> None:
    one, two, other = await asyncio.gather(fake.named(), fake.named(), fake.named(Key("search", "other")))
    assert (one, two, other) == (BOTH, BOTH, [])
    assert await fake.named() == BOTH
    assert fake.asked == 2


async def test_a_reconcile_after_an_event_sees_what_it_is_about(fake: Fake) -> None:
    await fake.named()
    fake.adapters.append(live("new"))
    assert await fake.named() == BOTH
    fake.store.changed()
    assert await fake.named() == ["search/legal", "search/new", "team-b/tax"]


async def test_a_listing_that_began_before_an_event_is_not_used_after_it(fake: Fake) -> None:
    fake.meanwhile = fake.store.changed
    await fake.named()
    fake.meanwhile = lambda: None
    fake.adapters.clear()
    assert await fake.named() == []


async def test_a_lost_event_delays_a_change_for_a_while_alone(fake: Fake) -> None:
    await fake.named()
    fake.adapters.clear()
    fake.now = KEPT_S - 0.1
    assert await fake.named() == BOTH
    fake.now = KEPT_S
    assert await fake.named() == []


async def test_a_status_is_decided_anew_once_it_could_not_be_written(fake: Fake) -> None:
    await fake.named()
    with pytest.raises(Conflict):
        await fake.store.write_status(resource(), {})
    await fake.named()
    assert fake.asked == 4


async def test_a_listing_that_failed_is_tried_again(fake: Fake) -> None:
    fake.away = True
    with pytest.raises(Unreachable):
        await fake.named()
    fake.away = False
    assert await fake.named() == BOTH


async def test_reconciles_that_wait_for_a_listing_that_fails_fail_with_it_and_those_after_it_try_again(
    fake: Fake,
) -> None:
    fake.away = True
    fake.meanwhile = fake.store.changed
    answers = await asyncio.gather(*(fake.named() for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unreachable] * 5
    assert fake.asked == 2
    with pytest.raises(Unreachable):
        await fake.named()
    assert fake.asked == 4


async def test_one_namespace_is_asked_each_time_for_the_adapters_of_the_model_alone() -> None:
    fake = Fake(["search"], live("legal"))
    assert [await fake.named(), await fake.named()] == [["search/legal"], ["search/legal"]]
    assert fake.asked == 2
