"""What tests of the client port share."""

from collections.abc import AsyncIterator

import httpx
import pytest

from reranker_worker.worker import Worker
from tests.fixtures.client_port import LengthScorer, http, length_worker


@pytest.fixture
def worker() -> Worker:
    return length_worker()


@pytest.fixture
def scorer(worker: Worker) -> LengthScorer:
    assert isinstance(worker.scorer, LengthScorer)
    return worker.scorer


@pytest.fixture
async def client(worker: Worker) -> AsyncIterator[httpx.AsyncClient]:
    async with http(worker) as client:
        yield client
