"""The engine under load: swaps, overload, fairness, deadlines, cancellation, and what fails alone."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread, current_thread

import pytest
import torch
from structlog.testing import capture_logs

from reranker_worker.errors import (
    CheckpointError,
    DeadlineExceeded,
    DeviceFault,
    InvalidRequest,
    NotReady,
    Overloaded,
    ScoringFailed,
)
from reranker_worker.scoring.engine import Engine
from reranker_worker.scoring.model_runner import ModelRunner
from reranker_worker.serving import (
    CUT_AT_THE_END,
    EncodedPair,
    Limits,
    LoadedModel,
    PairFailure,
    Queue,
    ScoreRequest,
    ScoringPair,
    Serving,
    Truncation,
)
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter, xlm_roberta_checkpoint
from tests.fixtures.reference import reference_logits

from .conftest import RAW
from .scripted import ScriptedRunner, WordTokenizer, scripted

DOCUMENTS = ["a fast sound editor", "python library", "game network driver", "", "chemistry " * 30]


@pytest.fixture
async def fresh() -> AsyncIterator[Engine]:
    engine = Engine(Limits(), "cpu")
    engine.start()
    yield engine
    engine.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the device thread sets no event of this loop's
            await asyncio.sleep(0.001)


async def test_each_response_is_scored_by_the_revision_that_it_states(fresh: Engine, tmp_path: Path) -> None:
    paths = [
        bert_checkpoint(tmp_path / "b0"),
        bert_checkpoint(tmp_path / "b1", seed=1),
        xlm_roberta_checkpoint(tmp_path / "x"),
    ]
    adapters = [lora_adapter(path / "adapter", path, seed=i, head=i == 1) for i, path in enumerate(paths)]
    models = [fresh.load_model(path, path.name, RAW) for path in paths]
    servings = [
        Serving(model, {"a": fresh.load_adapter(model, folder, "a", f"a-{model.revision}", 16)})
        for model, folder in zip(models, adapters, strict=True)
    ]
    expected = {
        (path.name, name): reference_logits(path, "web server", DOCUMENTS, folder if name else None, max_length=128)
        for path, folder in zip(paths, adapters, strict=True)
        for name in (None, f"a-{path.name}")
    }
    fresh.serve(servings[0])
    swapping = True

    async def client(adapter: str | None) -> set[str]:
        seen: set[str] = set()
        while swapping or len(seen) < 3:
            result = await fresh.score(ScoreRequest("web server", DOCUMENTS, adapter))
            assert (result.adapter_revision is None) == (adapter is None)
            reference = expected[result.revision, result.adapter_revision]
            assert result.scores == pytest.approx(reference, abs=1e-4), result.revision
            seen.add(result.revision)
        return seen

    clients = [asyncio.create_task(client(adapter)) for adapter in (None, "a", None, "a")]
    for turn in range(40):
        fresh.serve(servings[turn % 3])
        await asyncio.sleep(0.02)
    swapping = False
    for i in range(3):
        fresh.serve(servings[i])
        await asyncio.sleep(0.1)
    for task in clients:
        task_seen = await task if not task.done() else task.result()
        assert task_seen == {path.name for path in paths}


async def test_a_model_is_freed_when_its_last_request_is_done(fresh: Engine, bert: Path) -> None:
    first, second = (fresh.load_model(bert, revision, RAW) for revision in ("r1", "r2"))
    assert isinstance(first.runner, ModelRunner)
    module = weakref.ref(first.runner.module)
    fresh.serve(Serving(first))
    running = asyncio.create_task(fresh.score(ScoreRequest("web", DOCUMENTS * 20)))
    await asyncio.sleep(0)
    fresh.serve(Serving(second))
    del first
    assert (await running).revision == "r1"
    del running
    await fresh.score(ScoreRequest("web", DOCUMENTS))
    gc.collect()
    assert module() is None


async def test_five_documents_do_not_wait_for_a_thousand(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.serve(Serving(scripted(runner)))
    long = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 9] * 1000)))
    await _until(lambda: len(runner.batches) == 1)
    short = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 8] * 5)))
    await _until(lambda: len(fresh._backlog._requests) == 2)
    runner.gate.set()
    assert (await short).scores == [9.0] * 5
    assert len((await long).scores) == 1000
    with_short = [i for i, batch in enumerate(runner.batches) if any(len(pair.encoded) == 9 for pair in batch)]
    assert with_short == [1]


class SlowTokenizer(WordTokenizer):
    """Takes over a long text until the test lets it go on, as a real one takes seconds."""

    def __init__(self) -> None:
        self.began, self.gate = Event(), Event()

    def encode_pairs(
        self, query_ids: list[int], documents: Sequence[str], truncation: Truncation = CUT_AT_THE_END
    ) -> list[EncodedPair]:
        if max(map(len, documents)) > 100_000:
            self.began.set()
            assert self.gate.wait(10)
        return super().encode_pairs(query_ids, documents, truncation)


async def test_nobody_waits_while_a_long_text_is_tokenised(fresh: Engine) -> None:
    runner, tokenizer = ScriptedRunner(max_batch_tokens=1_000_000), SlowTokenizer()
    runner.gate.set()
    fresh.serve(Serving(replace(scripted(runner), tokenizer=tokenizer)))
    long = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 60_000, "w"])))
    await _until(tokenizer.began.is_set)
    assert (await fresh.score(ScoreRequest("q", ["w w"]))).scores == [3.0]
    tokenizer.gate.set()
    assert (await long).scores == [60_001.0, 2.0]


async def test_ten_thousand_documents_are_scored_right_while_others_are_answered(fresh: Engine, bert: Path) -> None:
    fresh.serve(Serving(fresh.load_model(bert, "r1", RAW)))
    expected = reference_logits(bert, "web server", DOCUMENTS, None, max_length=128)
    large = asyncio.create_task(fresh.score(ScoreRequest("web server", DOCUMENTS * 2000)))
    await _until(lambda: fresh._backlog.pairs == 10_000)
    small = await fresh.score(ScoreRequest("web server", DOCUMENTS))
    assert not large.done()
    assert small.scores == pytest.approx(expected, abs=1e-4)
    assert (await large).scores == pytest.approx(expected * 2000, abs=1e-4)


async def test_one_batch_holds_pairs_of_several_requests_up_to_the_token_limit(fresh: Engine) -> None:
    runner = ScriptedRunner(max_batch_tokens=1000)
    fresh.serve(Serving(scripted(runner)))
    fresh.set_limits(Limits(max_batch_tokens=50))
    requests = [asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 9] * 4))) for _ in range(5)]
    await _until(lambda: fresh._backlog.pairs == 20)
    runner.gate.set()
    await asyncio.gather(*requests)
    assert all(sum(len(pair.encoded) for pair in batch) <= 50 for batch in runner.batches)
    assert sum(map(len, runner.batches)) == 20


async def test_overload_is_refused_with_the_time_that_the_queue_takes_to_drain(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.set_limits(Limits(max_queue_tokens=400))
    fresh.serve(Serving(scripted(runner)))
    accepted = [asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 89]))) for _ in range(4)]
    await _until(lambda: fresh._backlog.tokens == 360)
    assert fresh.queue == Queue(pairs=4, tokens=360, max_tokens=400)
    with pytest.raises(Overloaded) as refusal:
        await fresh.score(ScoreRequest("q", ["w " * 89]))
    assert 0 < refusal.value.retry_after_s <= 60
    runner.gate.set()
    await asyncio.gather(*accepted)
    assert (fresh._backlog.tokens, fresh._backlog.pairs) == (0, 0)
    assert (await fresh.score(ScoreRequest("q", ["w"]))).scores == [2.0]


async def test_a_request_larger_than_the_queue_is_fed_in_parts_and_shuts_nobody_out(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.set_limits(Limits(max_queue_tokens=400))
    fresh.serve(Serving(scripted(runner)))
    documents = ["w " * (1 + i % 9) for i in range(1000)]
    large = asyncio.create_task(fresh.score(ScoreRequest("q", documents)))
    await _until(lambda: bool(runner.batches))
    small = asyncio.create_task(fresh.score(ScoreRequest("q", ["w"])))
    runner.gate.set()
    assert (await small).scores == [2.0]
    assert not large.done()
    assert (await large).scores == [2.0 + i % 9 for i in range(1000)]


async def test_a_client_that_goes_away_costs_at_most_the_running_batch(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.serve(Serving(scripted(runner)))
    gone = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 9] * 500)))
    await _until(lambda: bool(runner.batches))
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    runner.gate.set()
    await fresh.score(ScoreRequest("q", ["w"]))
    assert len(runner.batches) <= 2 + 1
    assert (fresh._backlog.tokens, fresh._backlog.pairs) == (0, 0)


async def test_an_expired_request_is_answered_in_time_and_never_scored(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.serve(Serving(scripted(runner)))
    first = asyncio.create_task(fresh.score(ScoreRequest("q", ["w"])))
    await _until(lambda: bool(runner.batches))
    with pytest.raises(DeadlineExceeded):
        await fresh.score(ScoreRequest("q", ["w w"], deadline_s=time.monotonic() + 0.05))
    runner.gate.set()
    await first
    await fresh.score(ScoreRequest("q", ["w w w"]))
    assert [len(pair.encoded) for batch in runner.batches for pair in batch] == [2, 4]


@pytest.mark.parametrize(
    ("reason", "words"),
    [("NonFinite", "isn't finite"), ("OutOfMemory", "doesn't fit"), ("Overflow", "engine.dtype: float32")],
    ids=["NaN", "memory", "memory for another precision"],
)
async def test_a_pair_that_cannot_be_scored_fails_its_request_alone(fresh: Engine, reason: str, words: str) -> None:
    runner = ScriptedRunner(outcome=lambda p: PairFailure(reason) if len(p.encoded) == 7 else 1.0)  # type: ignore[arg-type]
    runner.gate.set()
    fresh.serve(Serving(scripted(runner)))
    outcomes = await asyncio.gather(
        *(fresh.score(ScoreRequest("q", ["w", "w " * length])) for length in (5, 6, 7)), return_exceptions=True
    )
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(failed) == 1
    assert isinstance(failed[0], ScoringFailed)
    assert words in str(failed[0])


def _raise(error: Exception) -> Callable[[ScoringPair], float]:
    def outcome(pair: ScoringPair) -> float:
        raise error

    return outcome


async def test_a_batch_that_breaks_fails_its_requests_and_the_engine_goes_on(fresh: Engine) -> None:
    broken = ScriptedRunner(outcome=_raise(RuntimeError("shape mismatch")))
    broken.gate.set()
    fresh.serve(Serving(scripted(broken)))
    with pytest.raises(ScoringFailed):
        await fresh.score(ScoreRequest("q", ["w"]))
    fresh.serve(Serving(scripted(replace(broken, outcome=lambda _: 1.0))))
    assert (await fresh.score(ScoreRequest("q", ["w"]))).scores == [1.0]
    assert fresh.fatal is None


async def test_a_lost_device_fails_everything_and_is_reported_for_good(fresh: Engine) -> None:
    lost = ScriptedRunner(outcome=_raise(DeviceFault("DeviceFault", "illegal memory access")))
    fresh.serve(Serving(scripted(lost)))
    requests = [asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 80] * 3))) for _ in range(3)]
    await _until(lambda: bool(lost.batches))
    lost.gate.set()
    assert all(isinstance(o, NotReady) for o in await asyncio.gather(*requests, return_exceptions=True))
    assert fresh.fatal is not None
    assert fresh.fatal.reason == "DeviceFault"
    with pytest.raises(NotReady):
        await fresh.score(ScoreRequest("q", ["w"]))


def _lose(*_: object, **__: object) -> None:
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize(
    "lost_at",
    [
        pytest.param("models.parameters.read", id="while weights are read"),
        pytest.param("scoring.preparing._warm_up", id="while it is warmed up"),
    ],
)
async def test_a_device_lost_at_a_models_load_is_reported_for_good(
    fresh: Engine, bert: Path, monkeypatch: pytest.MonkeyPatch, lost_at: str
) -> None:
    fresh.serve(Serving(fresh.load_model(bert, "r1", RAW)))
    monkeypatch.setattr(f"reranker_worker.{lost_at}", _lose)
    with pytest.raises(DeviceFault, match="illegal memory access"):
        fresh.load_model(bert, "r2", RAW)
    assert fresh.fatal is not None
    assert fresh.fatal.reason == "DeviceFault"
    with pytest.raises(NotReady):
        await fresh.score(ScoreRequest("q", ["w"]))


@pytest.mark.parametrize(
    "lost_at",
    [
        pytest.param("scoring.preparing.load_lora", id="while it is read"),
        pytest.param("scoring.preparing._probe", id="while it is tried"),
    ],
)
def test_a_device_lost_at_an_adapters_load_is_reported_too(
    fresh: Engine, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_at: str
) -> None:
    model = fresh.load_model(bert, "r1", RAW)
    adapter = lora_adapter(tmp_path, bert)
    monkeypatch.setattr(f"reranker_worker.{lost_at}", _lose)
    with pytest.raises(DeviceFault, match="illegal memory access"):
        fresh.load_adapter(model, adapter, "a", "a-1", 16)
    assert fresh.fatal is not None


def _no_room(*_: object) -> None:
    raise torch.OutOfMemoryError


@pytest.mark.parametrize("read", ["models.parameters.read", "models.rotary.fill"])
def test_a_model_that_does_not_fit_is_refused_for_that(
    fresh: Engine, bert: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    monkeypatch.setattr(f"reranker_worker.{read}", _no_room)
    with pytest.raises(CheckpointError, match="don't fit cpu") as refused:
        fresh.load_model(bert, "r1", RAW)
    assert refused.value.reason == "OutOfMemory"
    assert fresh.fatal is None


async def test_a_device_that_computes_by_itself_is_given_the_next_batch_meanwhile(fresh: Engine) -> None:
    runner = ScriptedRunner(by_itself=True)
    fresh.serve(Serving(scripted(runner)))
    asked = asyncio.create_task(fresh.score(ScoreRequest("q", [f"{'w ' * (80 + i)}" for i in range(5)])))
    await _until(lambda: len(runner.batches) == 2)
    assert not runner.ended
    runner.gate.set()
    assert (await asked).scores == [81.0 + i for i in range(5)]
    assert runner.ended == runner.batches
    assert len(runner.batches) == 5


async def test_a_batch_is_answered_though_nothing_comes_behind_it(fresh: Engine) -> None:
    runner = ScriptedRunner(by_itself=True)
    runner.gate.set()
    fresh.serve(Serving(scripted(runner)))
    assert (await fresh.score(ScoreRequest("q", ["w", "w w"]))).scores == [2.0, 3.0]
    assert (await fresh.score(ScoreRequest("q", ["w w w"]))).scores == [4.0]


async def test_a_batch_that_breaks_leaves_the_one_behind_it_alone(fresh: Engine) -> None:
    def outcome(pair: ScoringPair) -> float:
        if len(pair.encoded) == 90:
            raise RuntimeError("shape mismatch")
        return 1.0

    runner = ScriptedRunner(by_itself=True, outcome=outcome)
    fresh.serve(Serving(scripted(runner)))
    broken, whole = (asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * words]))) for words in (89, 90))
    await _until(lambda: len(runner.batches) == 2)
    runner.gate.set()
    with pytest.raises(ScoringFailed):
        await broken
    assert (await whole).scores == [1.0]
    assert fresh.fatal is None


async def test_a_device_lost_at_a_batch_fails_the_one_behind_it_too(fresh: Engine) -> None:
    lost = ScriptedRunner(by_itself=True, outcome=_raise(DeviceFault("DeviceFault", "illegal memory access")))
    fresh.serve(Serving(scripted(lost)))
    requests = [asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 80]))) for _ in range(3)]
    await _until(lambda: len(lost.batches) == 2)
    lost.gate.set()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotReady] * 3
    assert fresh.fatal is not None


async def test_closing_waits_for_what_the_device_is_at(fresh: Engine) -> None:
    runner = ScriptedRunner(by_itself=True)
    fresh.serve(Serving(scripted(runner)))
    begun = [asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 80]))) for _ in range(2)]
    await _until(lambda: len(runner.batches) == 2)
    closing = asyncio.create_task(asyncio.to_thread(fresh.close))
    await _until(fresh._device._stopping.is_set)
    runner.gate.set()
    await closing
    assert [(await result).scores for result in begun] == [[81.0], [81.0]]


async def test_a_device_that_hangs_gives_no_sign_of_life(fresh: Engine) -> None:
    runner = ScriptedRunner(by_itself=True)
    fresh.serve(Serving(scripted(runner)))
    asked = asyncio.create_task(fresh.score(ScoreRequest("q", ["w"])))
    await _until(lambda: bool(runner.batches))
    await _until(lambda: fresh.heartbeat_age_s() > 0.3)
    runner.gate.set()
    await asked
    await _until(lambda: fresh.heartbeat_age_s() < 0.3)


async def test_the_time_of_a_batch_that_was_begun_early_counts_once(fresh: Engine) -> None:
    runner = ScriptedRunner(by_itself=True)
    fresh.serve(Serving(scripted(runner)))
    began_s = time.monotonic()
    asked = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 80] * 4)))
    await _until(lambda: len(runner.batches) == 2)
    runner.gate.set()
    await asked
    registry = fresh._metrics.registry
    assert registry.get_sample_value("reranker_batch_duration_seconds_count") == 4
    assert 0 < (registry.get_sample_value("reranker_batch_duration_seconds_sum") or 0) <= time.monotonic() - began_s


async def test_pairs_with_queries_of_their_own_are_one_request_that_keeps_nobody_waiting(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.serve(Serving(scripted(runner)))
    queries = [f"q{' q' * (i % 3)}" for i in range(300)]
    paired = ScoreRequest(queries[0], ["w " * 8] * 300, paired_queries=queries)
    long = asyncio.create_task(fresh.score(paired))
    await _until(lambda: len(runner.batches) == 1)
    short = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 4] * 5)))
    await _until(lambda: len(fresh._backlog._requests) == 2)
    runner.gate.set()
    assert (await short).scores == [5.0] * 5
    assert (await long).scores == [9.0 + i % 3 for i in range(300)]
    with_short = [i for i, batch in enumerate(runner.batches) if any(len(pair.encoded) == 5 for pair in batch)]
    assert with_short == [1]


@pytest.mark.parametrize("by_itself", [False, True], ids=["CPU", "GPU"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_unforeseen_error_ends_the_engine_and_leaves_nobody_waiting(fresh: Engine, by_itself: bool) -> None:
    broken = ScriptedRunner(by_itself=by_itself, outcome=_raise(IndexError("out of range")))
    fresh.serve(Serving(scripted(broken)))
    requests = [asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 80]))) for _ in range(3)]
    await _until(lambda: len(broken.batches) == (2 if by_itself else 1))
    broken.gate.set()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(outcomes[0], ScoringFailed)
    assert [type(outcome) for outcome in outcomes[1:]] == [NotReady] * 2
    assert fresh.fatal is not None


async def test_a_copy_in_full_precision_that_has_no_room_fails_its_pairs_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine.load_model(bert_checkpoint(tmp_path), "half", replace(RAW, dtype="float16"))
    pairs = [ScoringPair(pair) for pair in model.tokenizer.encode_pairs([7], ["web", "mail"])]
    forward = ModelRunner.forward

    def one_is_bad(
        runner: ModelRunner, module: torch.nn.Module, batch: Sequence[ScoringPair], *rest: None
    ) -> torch.Tensor:
        logits = forward(runner, module, batch, *rest)
        logits[0] = torch.nan
        return logits

    monkeypatch.setattr(ModelRunner, "forward", one_is_bad)
    monkeypatch.setattr("reranker_worker.scoring.model_runner.full_precision", _no_room)
    bad, good = model.runner.score(pairs)
    assert bad == PairFailure("Overflow")
    assert isinstance(good, float)


def test_a_model_that_overflows_and_has_no_room_for_another_precision_is_refused_with_what_to_set(
    engine: Engine, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(runner: ModelRunner, module: torch.nn.Module, batch: Sequence[ScoringPair], *_: None) -> torch.Tensor:
        if module is not runner.module:
            raise torch.OutOfMemoryError
        return torch.full((len(batch),), torch.inf)

    monkeypatch.setattr(ModelRunner, "forward", forward)
    with pytest.raises(CheckpointError, match=r"isn't finite in float16, .* set engine.dtype: float32") as refused:
        engine.load_model(bert, "half", replace(RAW, dtype="float16"))
    assert refused.value.reason == "NonFiniteScores"


async def test_a_device_that_hangs_is_not_waited_for(fresh: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reranker_worker.scoring.device_thread._LONGEST_STOP_S", 0.05)
    runner = ScriptedRunner()
    fresh.serve(Serving(scripted(runner)))
    asked = asyncio.create_task(fresh.score(ScoreRequest("q", ["w"])))
    await _until(lambda: bool(runner.batches))
    await asyncio.to_thread(fresh.close)
    assert fresh.is_running
    runner.gate.set()
    await asked
    await _until(lambda: not fresh.is_running)


async def test_closing_answers_what_waits(fresh: Engine) -> None:
    runner = ScriptedRunner()
    fresh.serve(Serving(scripted(runner)))
    waiting = asyncio.create_task(fresh.score(ScoreRequest("q", ["w " * 80] * 50)))
    await _until(lambda: bool(runner.batches))
    closing = asyncio.create_task(asyncio.to_thread(fresh.close))
    await _until(fresh._device._stopping.is_set)
    runner.gate.set()
    await closing
    with pytest.raises(NotReady):
        await waiting


async def test_nothing_is_scored_before_a_model_serves(fresh: Engine) -> None:
    with pytest.raises(NotReady):
        await fresh.score(ScoreRequest("q", ["w"]))


async def test_no_documents_is_the_clients_mistake(engine: Engine, bert_model: LoadedModel) -> None:
    engine.serve(Serving(bert_model))
    with pytest.raises(InvalidRequest):
        await engine.score(ScoreRequest("q", []))


async def test_an_idle_device_thread_gives_signs_of_life(fresh: Engine) -> None:
    await asyncio.sleep(1.2)
    assert fresh.heartbeat_age_s() < 1


def test_a_long_batch_gives_a_sign_of_life_in_each_layer(bert_model: LoadedModel) -> None:
    beats: list[None] = []
    pairs = bert_model.tokenizer.encode_pairs([7], ["web"])
    bert_model.runner.score([ScoringPair(pair) for pair in pairs], lambda: beats.append(None))
    assert len(beats) == 2


def test_the_threads_that_try_a_model_and_an_adapter_end(
    fresh: Engine, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried_on: list[Thread] = []
    score = ModelRunner.score

    def noted(runner: ModelRunner, pairs: Sequence[ScoringPair]) -> list[float | PairFailure]:
        tried_on.append(current_thread())
        return score(runner, pairs)

    monkeypatch.setattr(ModelRunner, "score", noted)
    model = fresh.load_model(bert, "bert-1", RAW)
    tries = len(tried_on)
    fresh.load_adapter(model, lora_adapter(tmp_path, bert), "x", "x-1", 16)
    assert 0 < tries < len(tried_on)
    assert not any(thread.is_alive() for thread in tried_on)


def test_out_of_memory_splits_the_batch_until_a_pair_is_alone(
    bert_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [ScoringPair(pair) for pair in bert_model.tokenizer.encode_pairs([7], ["web " * n for n in (3, 90, 5, 7)])]
    expected = bert_model.runner.score(pairs)
    forward = ModelRunner.forward

    def cramped(
        runner: ModelRunner, module: torch.nn.Module, batch: Sequence[ScoringPair], *rest: None
    ) -> torch.Tensor:
        if sum(len(pair.encoded) for pair in batch) > 20:
            raise torch.OutOfMemoryError
        return forward(runner, module, batch, *rest)

    monkeypatch.setattr(ModelRunner, "forward", cramped)
    outcomes = bert_model.runner.score(pairs)
    assert outcomes[1] == PairFailure("OutOfMemory")
    assert [outcomes[i] for i in (0, 2, 3)] == pytest.approx([expected[i] for i in (0, 2, 3)], abs=1e-5)


def test_batches_are_no_larger_than_what_fitted_once_one_was_split(
    engine: Engine, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(_: ModelRunner, module: torch.nn.Module, batch: Sequence[ScoringPair], *rest: None) -> torch.Tensor:
        if sum(len(pair.encoded) for pair in batch) > room[-1]:
            raise torch.OutOfMemoryError
        return torch.zeros(len(batch))

    runner = engine.load_model(bert, "cramped", RAW).runner
    room = [10, 100, 2500, 3000]
    monkeypatch.setattr(ModelRunner, "forward", forward)
    monkeypatch.setattr("reranker_worker.scoring.model_runner._CPU_BATCH_TOKENS", 2**31)
    bounds = []
    with capture_logs() as logs:
        while room:
            runner.score([ScoringPair(EncodedPair([7] * 20, [0] * 20))] * 250)
            bounds.append(runner.max_batch_tokens)
            room.pop()
    assert bounds == [2500, 2500, 2048, 2048]
    assert [(entry["tokens"], entry["fitted"], entry["most_tokens"]) for entry in logs] == [(5000, 2500, 2500)]


async def test_a_score_that_overflows_in_half_precision_is_computed_again_in_full(
    engine: Engine, tmp_path: Path
) -> None:
    folder = bert_checkpoint(tmp_path)
    model = engine.load_model(folder, "half", replace(RAW, dtype="float16"))
    assert isinstance(model.runner, ModelRunner)
    # Beyond float16's largest number for every text, and back in range behind the pooler's tanh.
    model.runner.module.get_submodule("bert.encoder.layer.1.output").LayerNorm.weight.mul_(30_000)  # type: ignore[union-attr, operator]
    pairs = [ScoringPair(pair) for pair in model.tokenizer.encode_pairs([7], DOCUMENTS)]
    half = model.runner.forward(model.runner.module, pairs)
    assert not half.isfinite().all()
    assert all(isinstance(outcome, float) for outcome in model.runner.score(pairs))


async def test_metrics_tell_what_waits_what_runs_and_what_serves(fresh: Engine, bert: Path) -> None:
    fresh.serve(Serving(fresh.load_model(bert, "bert-9", RAW)))
    await fresh.score(ScoreRequest("web", DOCUMENTS))
    registry = fresh._metrics.registry
    assert registry.get_sample_value("reranker_batch_pairs_sum") == len(DOCUMENTS)
    assert registry.get_sample_value("reranker_queue_pairs") == 0
    assert registry.get_sample_value("reranker_queue_wait_seconds_count") == 1
    assert registry.get_sample_value("reranker_model_info", {"revision": "bert-9", "adapter": ""}) == 1
    assert registry.get_sample_value("reranker_swaps_total", {"phase": "model", "result": "Loaded"}) == 1
