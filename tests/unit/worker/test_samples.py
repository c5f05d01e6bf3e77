"""Live requests that are kept for a candidate's comparison: how many, how long, and who may see them."""

from collections.abc import Callable, Sequence

import httpx
import pytest

from reranker_worker.reconciling import samples
from reranker_worker.reconciling.samples import Samples
from reranker_worker.serving import ScoreResult
from reranker_worker.settings import ServeSettings
from reranker_worker.web.app import internal_app
from reranker_worker.worker import Worker
from tests.fixtures.client_port import SETTINGS, http, length_worker


def offer(kept: Samples, query: str = "q", documents: Sequence[str] = ("a", "bb")) -> None:
    scores = [float(len(document)) for document in documents]
    kept.offer(query, documents, None, ScoreResult(scores, "m-1", None, 42, 1.5, 2.5, 3.5))


def asking(percent: int, draw: Callable[[], float] = lambda: 0.5) -> Samples:
    kept = Samples(draw)
    kept.ask_for(percent)
    return kept


def numbers(kept: Samples, after: int = 0) -> list[int]:
    return [sample.number for sample in kept.after(after)]


@pytest.mark.parametrize(("percent", "taken"), [(0, 0), (50, 0), (51, 1), (100, 1)])
def test_as_many_of_100_requests_are_kept_as_the_manifest_asks(percent: int, taken: int) -> None:
    kept = asking(percent)
    offer(kept)
    assert len(kept.after(0)) == taken


def test_a_share_of_many_requests_is_kept() -> None:
    draws = iter(number / 1000 for number in range(60))
    kept = asking(5, lambda: next(draws))
    for _ in range(60):
        offer(kept)
    assert len(kept.after(0)) == 50


def test_each_sample_is_told_once_to_who_asks_beyond_the_last_one() -> None:
    kept = asking(100)
    for _ in range(3):
        offer(kept)
    assert numbers(kept) == [1, 2, 3]
    assert numbers(kept, after=2) == [3]


def test_one_document_has_no_order_to_compare() -> None:
    kept = asking(100)
    offer(kept, documents=["a"])
    assert numbers(kept) == []


def test_the_oldest_go_first_where_there_are_too_many() -> None:
    kept = asking(100)
    for _ in range(samples.MOST_SAMPLES + 2):
        offer(kept)
    assert numbers(kept) == list(range(3, samples.MOST_SAMPLES + 3))


def test_the_oldest_go_first_where_they_are_too_long_and_a_huge_request_is_not_taken() -> None:
    kept = asking(100)
    offer(kept, query="x" * (samples.MOST_CHARACTERS // 2))
    offer(kept, query="x" * (samples.MOST_CHARACTERS // 2))
    assert numbers(kept) == [2]
    offer(kept, query="x" * samples.MOST_CHARACTERS)
    assert numbers(kept) == [2]


def test_all_are_forgotten_when_the_manifest_no_longer_asks() -> None:
    kept = asking(100)
    offer(kept)
    kept.ask_for(0)
    assert numbers(kept) == []
    kept.ask_for(100)
    assert numbers(kept) == []
    offer(kept)
    assert numbers(kept) == [2]


@pytest.fixture
def worker() -> Worker:
    return length_worker()


async def test_the_internal_port_alone_tells_what_clients_asked_and_were_answered(worker: Worker) -> None:
    worker.reconciler.samples.ask_for(100)
    transport = httpx.ASGITransport(internal_app(worker, ServeSettings(**SETTINGS)))
    async with http(worker) as client, httpx.AsyncClient(transport=transport, base_url="http://worker") as internal:
        body = {"query": "q", "documents": ["long one", "short"], "top_n": 1}
        assert (await client.post("/rerank", json=body)).status_code == 200
        found = (await internal.get("/samples")).json()["samples"]
        assert found == [
            {
                "number": 1,
                "revision": "m-1",
                "adapter": None,
                "query": "q",
                "documents": ["long one", "short"],
                "scores": [8.0, 5.0],
            }
        ]
        assert (await internal.get("/samples", params={"after": 1})).json() == {"samples": []}
        assert (await client.get("/samples")).status_code == 404
