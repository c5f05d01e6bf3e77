"""Packed scores equal transformers' own, scored one pair at a time."""

import asyncio
import gzip
import json
import random
import shutil
from pathlib import Path

import pytest

from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, LoadedModel, ScoreRequest, Serving
from tests.fixtures.checkpoints import WORDS, edit_config
from tests.fixtures.reference import reference_logits

from .conftest import RAW

MODELS = Path(__file__).parents[5] / "shared" / "models"
QUERIES = ["fast python library", "sound editor with music", "a"]


def _documents(seed: int, count: int = 12) -> list[str]:
    words = random.Random(seed)
    return [" ".join(words.choices(WORDS, k=words.choice([0, 1, 3, 10, 40, 200]))) for _ in range(count)]


async def _agrees(engine: Engine, model: LoadedModel, base: Path) -> None:
    engine.serve(Serving(model))
    documents = [_documents(seed) for seed in range(len(QUERIES))]
    results = await asyncio.gather(
        *(engine.score(ScoreRequest(query, texts)) for query, texts in zip(QUERIES, documents, strict=True))
    )
    for query, texts, result in zip(QUERIES, documents, results, strict=True):
        expected = reference_logits(base, query, texts, max_length=model.max_length)
        assert result.scores == pytest.approx(expected, abs=1e-4)


async def test_bert_scores_are_transformers_scores(engine: Engine, bert_model: LoadedModel, bert: Path) -> None:
    await _agrees(engine, bert_model, bert)


async def test_xlm_roberta_scores_are_transformers_scores(
    engine: Engine, xlm_roberta_model: LoadedModel, xlm_roberta: Path
) -> None:
    await _agrees(engine, xlm_roberta_model, xlm_roberta)


@pytest.mark.parametrize("kind", ["BertTokenizer", "PreTrainedTokenizerFast"])
async def test_where_the_tokenizer_gives_no_types_all_tokens_have_type_zero(
    engine: Engine, bert: Path, kind: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(bert, tmp_path / "untyped")
    names = ["input_ids", "attention_mask"]
    edit_config(folder, "tokenizer_config.json", tokenizer_class=kind, model_input_names=names)
    model = engine.load_model(folder, "untyped-1", RAW)
    await _agrees(engine, model, folder)
    result = await engine.score(ScoreRequest("fast web server", ["a small editor"]))
    assert result.scores != pytest.approx(reference_logits(bert, "fast web server", ["a small editor"]), abs=1e-2)


async def test_a_text_that_spells_the_padding_token_is_scored_like_transformers(
    engine: Engine, xlm_roberta_model: LoadedModel, xlm_roberta: Path
) -> None:
    engine.serve(Serving(xlm_roberta_model))
    documents = ["fast <pad> web <pad><pad> server", "<pad>"]
    result = await engine.score(ScoreRequest("web <pad> server", documents))
    assert result.scores == pytest.approx(reference_logits(xlm_roberta, "web <pad> server", documents), abs=1e-4)


async def test_a_trained_model_scores_real_packages_like_transformers(engine: Engine) -> None:
    base = MODELS / "debian-ce-minilm-l6"
    if not base.is_dir():
        pytest.skip("the trained model isn't beside this checkout")
    packages = json.loads(gzip.decompress((MODELS / "debian_eval.json.gz").read_bytes()))["test"][:12]
    documents = [package["doc"] for package in packages]
    engine.serve(Serving(engine.load_model(base, "debian-1", RAW)))
    for package in packages[:2]:
        result = await engine.score(ScoreRequest(package["short"], documents))
        assert result.scores == pytest.approx(reference_logits(base, package["short"], documents), abs=1e-4)


async def test_sigmoid_is_the_default_and_raw_scores_can_be_asked_for(engine: Engine, bert: Path) -> None:
    engine.serve(Serving(engine.load_model(bert, "bert-sigmoid", EngineSettings(dtype="float32"))))
    documents = _documents(3)
    scores = (await engine.score(ScoreRequest("web", documents))).scores
    raw = (await engine.score(ScoreRequest("web", documents, raw_scores=True))).scores
    assert all(0 < score < 1 for score in scores)
    assert sorted(scores) == [score for _, score in sorted(zip(raw, scores, strict=True))]
    assert raw == pytest.approx(reference_logits(bert, "web", documents, max_length=128), abs=1e-4)


async def test_half_precision_is_honoured_where_it_is_asked_for(engine: Engine, bert: Path) -> None:
    model = engine.load_model(bert, "bert-bf16", EngineSettings(dtype="bfloat16", scores="raw"))
    engine.serve(Serving(model))
    documents = _documents(4)
    result = await engine.score(ScoreRequest("web server", documents))
    assert model.dtype == "bfloat16"
    assert result.scores == pytest.approx(reference_logits(bert, "web server", documents, max_length=128), abs=0.2)


def test_a_pair_is_at_most_as_long_as_the_models_positions(
    bert_model: LoadedModel, xlm_roberta_model: LoadedModel
) -> None:
    assert (bert_model.max_length, xlm_roberta_model.max_length) == (128, 128)
