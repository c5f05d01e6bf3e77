"""On a GPU the same checkpoints score as on the CPU: attention by torch's varlen operator, in half precision."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import DType, EngineSettings, Limits, LoadedModel, ScoreRequest, ScoringPair, Serving
from tests.fixtures import decoders
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter, xlm_roberta_checkpoint
from tests.fixtures.families import FAMILIES
from tests.fixtures.reference import reference_logits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

DEVICE = "cuda"
QUERY = "fast python library"
DOCUMENTS = ["web server", "", "a small tool for the kernel and the driver", "python " * 60, "mail, font, music"]
ENCODERS = {"bert": bert_checkpoint, "xlm-roberta": xlm_roberta_checkpoint, **FAMILIES}
# Half precision moves the logits of these random weights so far; a wrong mask or position moves them by whole units.
ROUNDING = 0.25


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), DEVICE)
    engine.start()
    yield engine
    engine.close()


def loaded(engine: Engine, folder: Path, dtype: DType) -> LoadedModel:
    model = engine.load_model(folder, f"{folder.name}-{dtype}", EngineSettings(dtype=dtype, scores="raw"))
    engine.serve(Serving(model))
    return model


@pytest.mark.parametrize(
    ("dtype", "apart"), [("bfloat16", ROUNDING), ("float16", ROUNDING), ("float32", 1e-3)], ids=["bf16", "fp16", "fp32"]
)
@pytest.mark.parametrize("family", ENCODERS)
async def test_encoders_score_as_transformers_does(
    engine: Engine, tmp_path: Path, family: str, dtype: DType, apart: float
) -> None:
    folder = ENCODERS[family](tmp_path)
    loaded(engine, folder, dtype)
    result = await engine.score(ScoreRequest(QUERY, DOCUMENTS))
    expected = reference_logits(folder, QUERY, DOCUMENTS, max_length=128)
    assert result.scores == pytest.approx(expected, abs=apart)


@pytest.mark.parametrize(
    ("dtype", "apart"), [("bfloat16", ROUNDING), ("float16", ROUNDING), ("float32", 1e-3)], ids=["bf16", "fp16", "fp32"]
)
@pytest.mark.parametrize("family", decoders.FAMILIES)
async def test_decoders_score_as_transformers_does_whether_their_prefix_is_kept_or_not(
    engine: Engine, tmp_path: Path, family: str, dtype: DType, apart: float
) -> None:
    folder = decoders.decoder_checkpoint(tmp_path, family)
    loaded(engine, folder, dtype)
    expected = decoders.reference_scores(folder, family, QUERY, DOCUMENTS)
    for _ in ("computed", "kept"):
        result = await engine.score(ScoreRequest(QUERY, DOCUMENTS))
        assert result.scores == pytest.approx(expected, abs=apart)


async def test_an_adapters_pairs_are_scored_with_it_and_the_models_without(engine: Engine, tmp_path: Path) -> None:
    folder = bert_checkpoint(tmp_path / "base")
    adapter = lora_adapter(tmp_path / "adapter", folder, head=True)
    model = loaded(engine, folder, "float32")
    engine.serve(Serving(model, {"a": engine.load_adapter(model, adapter, "a", "a-1", 16)}))
    for name, path in (("a", adapter), (None, None)):
        result = await engine.score(ScoreRequest(QUERY, DOCUMENTS, name))
        expected = reference_logits(folder, QUERY, DOCUMENTS, path, max_length=128)
        assert result.scores == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("family", [*ENCODERS, *decoders.FAMILIES])
def test_a_batch_is_begun_without_waiting_for_the_device(engine: Engine, tmp_path: Path, family: str) -> None:
    decoder = family in decoders.FAMILIES
    folder = decoders.decoder_checkpoint(tmp_path, family) if decoder else ENCODERS[family](tmp_path)
    model = loaded(engine, folder, "auto")
    encoded = model.tokenizer.encode_pairs(model.tokenizer.encode_query(QUERY), DOCUMENTS)
    torch.cuda.set_sync_debug_mode("error")
    try:
        begun = model.runner.begin([ScoringPair(pair) for pair in encoded])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(begun.outcomes()) == len(DOCUMENTS)


def test_batches_are_begun_before_the_first_is_done_and_end_in_their_order(engine: Engine, tmp_path: Path) -> None:
    model = loaded(engine, bert_checkpoint(tmp_path), "auto")
    pairs = [ScoringPair(pair) for pair in model.tokenizer.encode_pairs([7], DOCUMENTS)]
    alone = [model.runner.score(batch) for batch in (pairs[:2], pairs[2:])]
    begun = [model.runner.begin(batch) for batch in (pairs[:2], pairs[2:])]
    assert [batch.outcomes() for batch in begun] == alone
    assert all(batch.is_done() for batch in begun)


def test_auto_is_half_precision(engine: Engine, tmp_path: Path) -> None:
    assert loaded(engine, bert_checkpoint(tmp_path), "auto").dtype in {"bfloat16", "float16"}
