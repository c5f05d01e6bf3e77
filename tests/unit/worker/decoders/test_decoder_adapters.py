"""LoRA adapters of decoders: scores equal PEFT's, alone and mixed in one batch, each with a prefix of its own."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import ScoreRequest, ScoringPair, Serving
from tests.fixtures.decoders import decoder_lora, reference_scores

from .conftest import Decoder

DOCUMENTS = ["a fast sound editor", "", "python library for chemistry " * 6, "game, network driver!", "the"]
TARGETS: dict[str, Iterable[str] | str] = {
    "queries and values": ("q_proj", "v_proj"),
    "every linear layer": "all-linear",
    "the output head too": ("q_proj", "down_proj", "lm_head"),
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
async def test_an_adapters_scores_are_pefts_scores(
    engine: Engine, decoder: Decoder, targets: Iterable[str] | str, tmp_path: Path
) -> None:
    folder = decoder_lora(tmp_path / "adapter", decoder.folder, target_modules=targets)
    engine.serve(Serving(decoder.model, {"x": engine.load_adapter(decoder.model, folder, "x", "x-1", 16)}))
    result = await engine.score(ScoreRequest("fast web server", DOCUMENTS, adapter="x"))
    expected = reference_scores(decoder.folder, decoder.family, "fast web server", DOCUMENTS, folder)
    assert result.scores == pytest.approx(expected, abs=1e-4)
    bare = reference_scores(decoder.folder, decoder.family, "fast web server", DOCUMENTS)
    assert result.scores != pytest.approx(bare, abs=1e-2)


async def test_one_batch_mixes_adapters_on_one_query(engine: Engine, decoder: Decoder, tmp_path: Path) -> None:
    base, model = decoder.folder, decoder.model
    folders = {f"a{seed}": decoder_lora(tmp_path / f"a{seed}", base, seed=seed, rank=seed + 1) for seed in range(3)}
    adapters = {name: engine.load_adapter(model, folder, name, name, 16) for name, folder in folders.items()}
    prefix = model.tokenizer.encode_query("web")
    pairs = model.tokenizer.encode_pairs(prefix, DOCUMENTS)
    order = [None, "a0", "a1", "a2"]
    # One prefix list for all: each adapter still computes it for itself.
    mixed = [ScoringPair(pair, adapters[name] if name else None) for pair in pairs for name in order]
    scores = model.runner.score(mixed)
    engine.serve(Serving(model, adapters))
    results = await asyncio.gather(*(engine.score(ScoreRequest("web", DOCUMENTS, adapter=name)) for name in order))
    for i, name in enumerate(order):
        expected = reference_scores(base, decoder.family, "web", DOCUMENTS, folders[name] if name else None)
        assert scores[i :: len(order)] == pytest.approx(expected, abs=1e-4), name
        assert results[i].scores == pytest.approx(expected, abs=1e-4), name
