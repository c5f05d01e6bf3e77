"""Decoders whose head was made from the answers' rows score as transformers' classifiers, and as before that."""

import asyncio
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from reranker_worker.errors import CheckpointError
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, ScoreRequest, Serving
from tests.fixtures.checkpoints import edit_config
from tests.fixtures.decoders import converted_checkpoint, decoder_lora, reference_scores
from tests.fixtures.scoring import apart

from .conftest import RAW, Decoder

QUERY = "fast web server"
DOCUMENTS = ["a fast sound editor", "", "python library for chemistry " * 6, "game, network driver!", "the"]


@pytest.fixture
def base(decoder: Decoder, tmp_path: Path) -> Path:
    return converted_checkpoint(tmp_path / "converted", decoder.folder, decoder.family)


async def test_scores_are_transformers_classifiers_and_the_decoders_own(
    engine: Engine, decoder: Decoder, base: Path
) -> None:
    engine.serve(Serving(engine.load_model(base, "converted-1", RAW)))
    result = await engine.score(ScoreRequest(QUERY, DOCUMENTS))
    assert result.scores == pytest.approx(reference_scores(base, decoder.family, QUERY, DOCUMENTS), abs=1e-4)
    assert result.scores == pytest.approx(reference_scores(decoder.folder, decoder.family, QUERY, DOCUMENTS), abs=1e-4)


async def test_int8_is_near_fp32(engine: Engine, base: Path) -> None:
    results = []
    for settings in (RAW, EngineSettings(dtype="int8", max_length=1024, scores="raw")):
        engine.serve(Serving(engine.load_model(base, settings.dtype, settings)))
        results.append((await engine.score(ScoreRequest(QUERY, DOCUMENTS))).scores)
    assert 0 < apart(results[1], results[0]) < 0.1


async def test_adapters_with_and_without_a_head_score_as_pefts(
    engine: Engine, decoder: Decoder, base: Path, tmp_path: Path
) -> None:
    model = engine.load_model(base, "converted-1", RAW)
    folders = {
        "head": decoder_lora(tmp_path / "head", base, task="SEQ_CLS"),
        "no head": decoder_lora(tmp_path / "none", decoder.folder, seed=1, task=None),
    }
    adapters = {name: engine.load_adapter(model, folder, name, name, 16) for name, folder in folders.items()}
    engine.serve(Serving(model, adapters))
    results = await asyncio.gather(*(engine.score(ScoreRequest(QUERY, DOCUMENTS, adapter=name)) for name in folders))
    for result, (name, folder) in zip(results, folders.items(), strict=True):
        expected = reference_scores(base, decoder.family, QUERY, DOCUMENTS, folder)
        assert result.scores == pytest.approx(expected, abs=1e-4), name


def test_a_head_of_two_labels_is_refused(engine: Engine, base: Path) -> None:
    with pytest.raises(CheckpointError, match="2 labels") as refusal:
        engine.load_model(edit_config(base, id2label={"0": "no", "1": "yes"}), "two-1", RAW)
    assert refusal.value.reason == "UnsupportedArchitecture"


def test_a_head_that_isnt_stored_is_refused(engine: Engine, base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "score.weight"}, base / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no score\.weight") as refusal:
        engine.load_model(base, "headless-1", RAW)
    assert refusal.value.reason == "MissingHead"
