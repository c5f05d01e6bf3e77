"""Every client against the same served model: its ranking, its adapter, what it raises, a swap while it asks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest

from tests.clients.client import Ask, Client, Lister, Raises, Ranking, Refusal, Waits, Where
from tests.clients.stage import Stage, bindings

BINDINGS = [import_module(f"tests.clients.bindings.{name}") for name in bindings()]
CLIENTS: list[Client] = [client for binding in BINDINGS for client in binding.CLIENTS]
LISTERS: list[Lister] = [lister for binding in BINDINGS for lister in getattr(binding, "LISTERS", ())]
TOLERANCE = 1e-5
#: More tokens than a pair of the model has: refused in every dialect, whatever the client checks by itself.
ENDLESS = "endless " * 600

Recorder = pytest.FixtureRequest


def each(clients: Sequence[Client | Lister]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", [pytest.param(client, id=client.label) for client in clients])


def met(refusal: Refusal, kind: type) -> list[Client]:
    return [client for client in CLIENTS if isinstance(client.refusals[refusal], kind)]


@pytest.fixture
def saw(request: Recorder, client: Client | Lister) -> Recorder:
    """Name the client in the report, whatever comes of the test."""
    request.node.user_properties.append(("client", client.label))
    return request


def record(saw: Recorder, behaviour: str, seen: str) -> None:
    saw.node.user_properties += [("behaviour", behaviour), ("seen", seen)]


def same(ranking: Ranking, expected: Ranking) -> bool:
    """Tell whether the order is the same and the scores are, but for the rounding of another batch."""
    pairs = zip(ranking, expected, strict=True)
    return all(index == wanted and abs(score - exact) < TOLERANCE for (index, score), (wanted, exact) in pairs)


@each(CLIENTS)
def test_a_client_ranks_as_the_model_does(client: Client, stage: Stage, ask: Ask, saw: Recorder) -> None:
    record(saw, "ranking", "equal")
    expected = stage.direct(ask)
    assert expected[0][0] != 0, "the first stage's order is right already: this question shows nothing"
    assert same(client.rank(ask), expected)


@each([client for client in CLIENTS if client.sends_model])
def test_a_client_chooses_an_adapter_by_the_models_name(client: Client, stage: Stage, ask: Ask, saw: Recorder) -> None:
    record(saw, "adapter", "equal")
    adapted = ask.but(model=f"{stage.model}:{stage.adapter}")
    expected = stage.direct(adapted)
    assert not same(expected, stage.direct(ask))
    assert same(client.rank(adapted), expected)


@each(LISTERS)
def test_a_client_finds_the_model_by_its_name(client: Lister, stage: Stage, saw: Recorder) -> None:
    record(saw, "listing", "equal")
    adapters = [f"{stage.model}:{stage.adapter}"] if client.adapters else []
    assert client.names(Where(stage.url, stage.key)) == [stage.model, *adapters]


@each(met("bad request", Raises))
def test_a_client_says_what_was_wrong_with_the_request(client: Client, ask: Ask, saw: Recorder) -> None:
    refused(client, "bad request", ask.but(query=ENDLESS), saw)


@each(met("unknown model", Raises))
def test_a_client_says_that_there_is_no_such_model(client: Client, ask: Ask, saw: Recorder) -> None:
    refused(client, "unknown model", ask.but(model="acme/nothing"), saw)


@each(met("overload", Raises))
def test_a_client_gives_up_while_the_queue_is_full(client: Client, stage: Stage, ask: Ask, saw: Recorder) -> None:
    stage.cue("overload")
    try:
        refused(client, "overload", ask, saw)
    finally:
        stage.cue("relieve")


@each(met("overload", Waits))
def test_a_client_is_answered_once_the_queue_has_room(client: Client, stage: Stage, ask: Ask, saw: Recorder) -> None:
    record(saw, "overload", "waits")
    expected = stage.direct(ask)
    stage.cue("overload")
    try:
        with ThreadPoolExecutor(1) as pool:
            relieving = pool.submit(stage.cue, "relieve-after-refusal")
            ranking = client.rank(ask)
            relieving.result()
    finally:
        stage.cue("relieve")
    assert same(ranking, expected)


@each(met("cold start", Raises))
def test_a_client_gives_up_on_a_model_that_is_not_ready(client: Client, stage: Stage, ask: Ask, saw: Recorder) -> None:
    refused(client, "cold start", ask.but(url=stage.cue("cool")), saw)


@each(met("cold start", Waits))
def test_a_client_is_answered_once_the_model_is_ready(client: Client, stage: Stage, ask: Ask, saw: Recorder) -> None:
    record(saw, "cold start", "waits")
    cold = ask.but(url=stage.cue("cool"))
    with ThreadPoolExecutor(1) as pool:
        warming = pool.submit(stage.cue, "warm-after-refusal")
        ranking = client.rank(cold)
        warming.result()
    assert same(ranking, stage.direct(cold))


@each(CLIENTS)
def test_a_swap_while_a_client_asks_shows_in_its_scores_alone(
    client: Client, stage: Stage, ask: Ask, saw: Recorder
) -> None:
    record(saw, "swap", "equal")
    before = stage.direct(ask)
    with ThreadPoolExecutor(1) as pool:
        rankings = [client.rank(ask)]
        swapping = pool.submit(stage.cue, "swap")
        while not swapping.done():
            rankings.append(client.rank(ask))
        swapping.result()
        rankings.append(client.rank(ask))
    after = stage.direct(ask)
    assert not same(before, after)
    assert all(same(ranking, before) or same(ranking, after) for ranking in rankings)
    assert same(rankings[0], before)
    assert same(rankings[-1], after)


def refused(client: Client, refusal: Refusal, ask: Ask, saw: Recorder) -> None:
    """Ask, and see the error that the client's users know."""
    expected = client.refusals[refusal]
    assert isinstance(expected, Raises)
    record(saw, refusal, expected.error.__name__)
    with pytest.raises(expected.error) as raised:
        client.rank(ask)
    assert type(raised.value) is expected.error
    assert expected.says in str(raised.value)
