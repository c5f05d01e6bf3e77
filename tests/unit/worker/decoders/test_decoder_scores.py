"""Scores from shared prefixes equal transformers' own, scored one prompt at a time."""

import asyncio
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_worker.errors import CheckpointError, InvalidRequest
from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.models import prepacked
from reranker_worker.scoring.decoder_runner import DecoderRunner
from reranker_worker.scoring.engine import Engine
from reranker_worker.scoring.model_runner import ModelRunner
from reranker_worker.serving import EncodedPair, EngineSettings, ScoreRequest, ScoringPair, Serving, Truncation
from tests.fixtures.checkpoints import WORDS, edit_config
from tests.fixtures.decoders import FAMILIES, decoder_checkpoint, reference_scores
from tests.fixtures.scoring import apart, are_rounded

from .conftest import RAW, Decoder

QUERIES = ["fast python library", "sound editor?\n", "a", " naïve 文字 🚀 "]


def _documents(seed: int, count: int = 9) -> list[str]:
    words = random.Random(seed)
    return [" ".join(words.choices(WORDS, k=words.choice([0, 1, 3, 10, 40, 200]))) for _ in range(count)]


@pytest.mark.parametrize("by", ["kernel", "torch"])
async def test_scores_are_transformers_scores(
    engine: Engine, decoder: Decoder, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "torch":  # as where the worker was installed without a compiler
        monkeypatch.setattr(attention_kernel, "covers", lambda *_, **__: False)
    engine.serve(Serving(decoder.model))
    documents = [_documents(seed) for seed in range(len(QUERIES))]
    results = await asyncio.gather(
        *(engine.score(ScoreRequest(query, texts)) for query, texts in zip(QUERIES, documents, strict=True))
    )
    for query, texts, result in zip(QUERIES, documents, results, strict=True):
        expected = reference_scores(decoder.folder, decoder.family, query, texts)
        assert result.scores == pytest.approx(expected, abs=1e-4)
        assert len(set(expected)) > 4


async def test_scores_of_weights_that_are_laid_out_for_bf16_units_are_the_same(
    engine: Engine, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepacked, "pays", lambda *_, **__: True)
    laid_out = engine.load_model(decoder.folder, f"{decoder.family}-laid-out", RAW)
    results = []
    for model in (decoder.model, laid_out):
        engine.serve(Serving(model))
        results.append(await engine.score(ScoreRequest(QUERIES[0], _documents(1))))
    assert results[1].scores == pytest.approx(results[0].scores, abs=1e-5)


async def test_configurations_as_published_score_like_transformers(
    engine: Engine, decoder: Decoder, tmp_path: Path
) -> None:
    base = decoder_checkpoint(tmp_path, decoder.family, seed=4)
    # Members as transformers 4 wrote them, and half-precision weights.
    edit_config(base, rope_parameters=None, rope_theta=1e6, sliding_window=4096, use_sliding_window=False)
    edit_config(base, dtype=None, torch_dtype="bfloat16", max_window_layers=2)
    tensors = load_file(base / "model.safetensors")
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    save_file(halves, base / "model.safetensors", metadata={"format": "pt"})
    engine.serve(Serving(engine.load_model(base, "published-1", RAW)))
    result = await engine.score(ScoreRequest("web server", _documents(7)))
    expected = reference_scores(base, decoder.family, "web server", _documents(7))
    assert result.scores == pytest.approx(expected, abs=1e-4)


async def test_a_head_that_is_stored_beside_shared_embeddings_is_believed(
    engine: Engine, decoder: Decoder, tmp_path: Path
) -> None:
    base = edit_config(decoder_checkpoint(tmp_path, decoder.family, tied=False), tie_word_embeddings=True)
    engine.serve(Serving(engine.load_model(base, "both-1", RAW)))
    result = await engine.score(ScoreRequest("web server", _documents(7)))
    expected = reference_scores(base, decoder.family, "web server", _documents(7))
    assert result.scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("options", "head_stored"),
    [
        pytest.param({"tied": False}, True, id="a head of its own"),
        pytest.param({"num_key_value_heads": 4}, False, id="keys for each head"),
        pytest.param({"num_key_value_heads": 1}, False, id="keys shared by all heads"),
        pytest.param({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, False, id="another rope base"),
        pytest.param(
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, False, id="a stretched rope"
        ),
    ],
)
async def test_variants_of_an_architecture_score_like_transformers(
    engine: Engine, family: str, options: dict[str, Any], tmp_path: Path, *, head_stored: bool
) -> None:
    base = decoder_checkpoint(tmp_path, family, seed=3, **options)
    assert ("lm_head.weight" in load_file(base / "model.safetensors")) is head_stored
    engine.serve(Serving(engine.load_model(base, "variant-1", RAW)))
    result = await engine.score(ScoreRequest("web server", _documents(7)))
    assert result.scores == pytest.approx(reference_scores(base, family, "web server", _documents(7)), abs=1e-4)


def test_a_shared_prefix_changes_no_score(decoder: Decoder) -> None:
    model = decoder.model
    pairs = model.tokenizer.encode_pairs(model.tokenizer.encode_query("web server"), _documents(11))
    whole = [EncodedPair([*pair.prefix, *pair.token_ids], []) for pair in pairs]
    shared = model.runner.score([ScoringPair(pair) for pair in pairs])
    assert model.runner.score([ScoringPair(pair) for pair in whole]) == pytest.approx(shared, abs=1e-5)
    assert [model.runner.score([ScoringPair(pair)])[0] for pair in pairs] == pytest.approx(shared, abs=1e-5)


async def test_a_request_is_split_over_batches_without_a_trace(engine: Engine, decoder: Decoder) -> None:
    model = decoder.model
    engine.serve(Serving(model))
    documents = _documents(13, count=60)
    result = await engine.score(ScoreRequest("web server", documents))
    prefix = model.tokenizer.encode_query("web server")
    pairs = model.tokenizer.encode_pairs(prefix, documents)
    assert result.tokens == len(prefix) + sum(map(len, pairs)) > model.runner.max_batch_tokens
    assert result.scores == pytest.approx(model.runner.score([ScoringPair(pair) for pair in pairs]), abs=1e-5)


async def test_the_default_score_is_the_probability_of_yes_against_no(
    engine: Engine, decoders: Callable[[str], Decoder]
) -> None:
    settings = EngineSettings(dtype="float32", max_length=1024)
    engine.serve(Serving(engine.load_model(decoders("qwen3").folder, "sigmoid-1", settings)))
    result = await engine.score(ScoreRequest("web server", _documents(5)))
    raw = reference_scores(decoders("qwen3").folder, "qwen3", "web server", _documents(5))
    assert result.scores == pytest.approx([math.exp(x) / (math.exp(x) + 1) for x in raw], abs=1e-5)


async def test_only_the_document_is_truncated(engine: Engine, decoder: Decoder) -> None:
    prefix = decoder.model.tokenizer.encode_query("web server")
    closing = decoder.model.tokenizer.encode_pairs(prefix, [""])[0]
    length = len(prefix) + len(closing) + 12
    model = engine.load_model(
        decoder.folder, "short-1", EngineSettings(dtype="float32", max_length=length, scores="raw")
    )
    engine.serve(Serving(model))
    documents = ["fast python library for chemistry " * 9, "fast"]
    result = await engine.score(ScoreRequest("web server", documents))
    expected = reference_scores(decoder.folder, decoder.family, "web server", documents, max_length=length)
    assert result.scores == pytest.approx(expected, abs=1e-4)
    assert result.truncated == 1
    with pytest.raises(InvalidRequest, match="this model takes at most") as refusal:
        await engine.score(ScoreRequest("web server " * 20, documents))
    assert refusal.value.param == "query"


def test_a_request_may_bound_the_prompt_as_a_whole(decoder: Decoder) -> None:
    encoder = decoder.model.tokenizer
    prefix = encoder.encode_query("web server")
    least = len(prefix) + len(encoder.encode_pairs(prefix, [""])[0]) + 1
    (pair,) = encoder.encode_pairs(prefix, ["fast python " * 50], Truncation(pair_tokens=least + 5))
    assert len(prefix) + len(pair) == least + 5
    with pytest.raises(InvalidRequest, match=f"needs at least {least}"):
        encoder.encode_pairs(prefix, ["fast"], Truncation(pair_tokens=least - 1))


def test_only_the_answers_rows_of_the_head_are_computed(
    decoders: Callable[[str], Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoders("qwen3").model
    runner = model.runner
    assert isinstance(runner, ModelRunner)

    def unexpected(*_: object) -> None:
        raise AssertionError("the whole vocabulary was computed")

    monkeypatch.setattr(runner.module.get_submodule("lm_head"), "forward", unexpected)
    pairs = model.tokenizer.encode_pairs(model.tokenizer.encode_query("web"), ["fast"])
    assert len(runner.score([ScoringPair(pairs[0])])) == 1


async def test_half_precision_is_honoured_where_it_is_asked_for(
    engine: Engine, decoders: Callable[[str], Decoder]
) -> None:
    settings = EngineSettings(dtype="bfloat16", max_length=1024, scores="raw")
    engine.serve(Serving(engine.load_model(decoders("gemma").folder, "half-1", settings)))
    result = await engine.score(ScoreRequest("web server", _documents(4)))
    expected = reference_scores(decoders("gemma").folder, "gemma", "web server", _documents(4))
    assert result.scores == pytest.approx(expected, abs=0.5)
    assert not are_rounded(result.scores), "documents would share their scores"


async def test_int8_is_near_fp32(engine: Engine, decoder: Decoder) -> None:
    settings = EngineSettings(dtype="int8", max_length=1024, scores="raw")
    results = []
    for model in (decoder.model, engine.load_model(decoder.folder, f"{decoder.family}-int8", settings)):
        engine.serve(Serving(model))
        results.append((await engine.score(ScoreRequest(QUERIES[0], _documents(1)))).scores)
    assert 0 < apart(results[1], results[0]) < 0.1


def test_a_score_that_overflows_in_half_precision_is_computed_again(engine: Engine, tmp_path: Path) -> None:
    base = decoder_checkpoint(tmp_path, "qwen3", initializer_range=40.0)
    settings = EngineSettings(dtype="float16", max_length=1024, scores="raw")
    model = engine.load_model(base, "large-1", settings)
    encoded = model.tokenizer.encode_pairs(model.tokenizer.encode_query("web"), ["fast", "small web"])
    pairs = [ScoringPair(pair) for pair in encoded]
    assert isinstance(model.runner, DecoderRunner)
    assert not model.runner.forward(model.runner.module, pairs).isfinite().any()
    scores = model.runner.score(pairs)
    # The weights themselves are rounded, and nothing damps a model of this size.
    assert all(isinstance(score, float) and math.isfinite(score) for score in scores)


@pytest.mark.parametrize(
    ("members", "reason", "words"),
    [
        pytest.param(
            {"use_sliding_window": True}, "UnsupportedArchitecture", "use_sliding_window", id="sliding window"
        ),
        pytest.param(
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "UnsupportedArchitecture",
            "rope_type 'dynamic' isn't built in; known: default",
            id="a rope that depends on the text's length",
        ),
        pytest.param(
            {"architectures": ["Qwen2Model"]}, "MissingHead", "a reranker of its kind is Qwen2ForCausalLM", id="no head"
        ),
        pytest.param({"tie_word_embeddings": False}, "MissingHead", "no lm_head.weight", id="a head that isn't stored"),
        pytest.param({"num_hidden_layers": 900}, "InvalidCheckpoint", "describes at least", id="more than is stored"),
        pytest.param(
            # As zerank-1's, which asks in another way and reads another answer.
            {"auto_map": {"AutoConfig": "modeling_zeranker.ZEConfig"}},
            "RemoteCode",
            "code of the repository .*auto_map.* may ask otherwise",
            id="code of its own",
        ),
        pytest.param({"quantization_config": {"bits": 4}}, "UnsupportedArchitecture", "quantization", id="quantised"),
    ],
)
def test_a_checkpoint_that_cant_be_scored_is_refused(
    engine: Engine, members: dict[str, Any], reason: str, words: str, tmp_path: Path
) -> None:
    base = edit_config(decoder_checkpoint(tmp_path, "mxbai"), **members)
    with pytest.raises(CheckpointError, match=words) as refusal:
        engine.load_model(base, "bad-1", RAW)
    assert refusal.value.reason == reason
