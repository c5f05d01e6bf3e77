"""A model that is served no more leaves at once, however its requests ended: nothing waits for Python's collector."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import Request
from structlog.testing import capture_logs

from reranker_worker.errors import DeadlineExceeded, InvalidRequest, NotFound, Overloaded, ScoringFailed
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import Limits, ScoreRequest, ScoreResult, Serving
from reranker_worker.web.disconnects import unless_client_gone

from .scripted import ScriptedRunner, WordTokenizer, scripted

MOST_TOKENS = 400


@pytest.fixture(autouse=True)
def never_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    # Until the worker configures them, logs render a traceback with its variables, which then stay.
    with capture_logs():
        yield
    gc.enable()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(Limits(max_queue_tokens=MOST_TOKENS), "cpu")
    engine.start()
    yield engine
    engine.close()


class Client:
    """One that stays until the test lets it go."""

    def __init__(self, engine: Engine, runner: ScriptedRunner) -> None:
        self.engine = engine
        self.runner = runner
        self.gone = asyncio.Event()

    async def ask(self, **members: Any) -> object:
        """Return what comes of a request: its result, an error, or None where nobody waited for it."""
        request = ScoreRequest(**{"query": "q", "documents": ["w w", "w"], **members})
        asked = unless_client_gone(Request({"type": "http"}, self._receive), self.engine.score(request))
        (outcome,) = await asyncio.gather(asked, return_exceptions=True)
        return outcome

    async def _receive(self) -> dict[str, str]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def is_answered(client: Client) -> object:
    return await client.ask()


async def meets_a_full_queue(client: Client) -> object:
    client.engine._backlog.settle(MOST_TOKENS)
    outcome = await client.ask()
    client.engine._backlog.settle(-MOST_TOKENS)
    return outcome


async def names_no_adapter(client: Client) -> object:
    return await client.ask(adapter="none")


async def is_not_understood(client: Client) -> object:
    return await client.ask(query="unreadable")


async def waits_too_long(client: Client) -> object:
    client.runner.gate.clear()
    outcome = await client.ask(deadline_s=time.monotonic() + 0.05)
    client.runner.gate.set()
    return outcome


async def goes_away(client: Client) -> object:
    client.runner.gate.clear()
    asking = asyncio.create_task(client.ask())
    while not client.runner.batches:  # noqa: ASYNC110 - the device thread sets no event of this loop's
        await asyncio.sleep(0.01)
    client.gone.set()
    outcome = await asking
    client.runner.gate.set()
    return outcome


async def meets_a_broken_batch(client: Client) -> object:
    return await client.ask(documents=["w " * 9])


class Tokenizer(WordTokenizer):
    def encode_query(self, query: str, instruction: str | None = None) -> list[int]:
        if query == "unreadable":
            raise InvalidRequest("the query can't be read")
        return super().encode_query(query, instruction)


def outcome(pair: Any) -> float:
    if len(pair.encoded) > 9:
        raise RuntimeError("shape mismatch")
    return 1.0


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (is_answered, ScoreResult),
        (meets_a_full_queue, Overloaded),
        (names_no_adapter, NotFound),
        (is_not_understood, InvalidRequest),
        (waits_too_long, DeadlineExceeded),
        (goes_away, type(None)),
        (meets_a_broken_batch, ScoringFailed),
    ],
)
@pytest.mark.parametrize("by_itself", [False, True], ids=["CPU", "GPU"])
async def test_a_model_leaves_whatever_became_of_a_request(
    engine: Engine, ending: Callable[[Client], Awaitable[object]], kind: type, by_itself: bool
) -> None:
    runner = ScriptedRunner(by_itself=by_itself, outcome=outcome)
    runner.gate.set()
    model = replace(scripted(runner), tokenizer=Tokenizer())
    engine.serve(Serving(model))
    assert isinstance(await ending(Client(engine, runner)), kind)
    leaving = weakref.ref(model)
    del model, runner
    engine.serve(Serving())
    async with asyncio.timeout(5):
        while leaving() is not None:  # noqa: ASYNC110 - the device thread sets no event of this loop's
            await asyncio.sleep(0.01)
