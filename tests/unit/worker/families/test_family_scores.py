"""Each encoder family's packed scores equal its reference's, one pair at a time; what isn't built in is refused."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_worker.errors import CheckpointError, InvalidRequest
from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.models.families import FAMILIES as KNOWN
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, LoadedModel, ScoreRequest, Serving
from tests.fixtures.checkpoints import WORDS, edit_config
from tests.fixtures.families import (
    FAMILIES,
    deberta_checkpoint,
    electra_checkpoint,
    jina_checkpoint,
    modernbert_checkpoint,
    roberta_checkpoint,
)
from tests.fixtures.reference import reference_logits
from tests.fixtures.scoring import are_rounded

from .conftest import RAW

QUERIES = ["fast python library", "sound editor with music", "a"]
VARIANTS: dict[str, tuple[Callable[..., Path], dict[str, Any]]] = {
    "electra as wide as its embeddings": (electra_checkpoint, {"embedding_size": 64}),
    "roberta with another padding token": (roberta_checkpoint, {"pad_token_id": 2}),
    "modernbert that scores its first token": (modernbert_checkpoint, {"classifier_pooling": "cls"}),
    "modernbert whose window no text fills": (modernbert_checkpoint, {"local_attention": 256}),
    "modernbert whose local layers see only the token": (modernbert_checkpoint, {"local_attention": 1}),
    "modernbert with the published window": (
        modernbert_checkpoint,
        {"local_attention": 128, "max_position_embeddings": 8192},
    ),
    "modernbert with biases": (
        modernbert_checkpoint,
        {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True},
    ),
    "deberta with the published buckets": (
        deberta_checkpoint,
        {"position_buckets": 256, "max_position_embeddings": 512},
    ),
    "deberta with a row for each distance": (deberta_checkpoint, {"position_buckets": -1}),
    "deberta with few distances": (deberta_checkpoint, {"position_buckets": -1, "max_relative_positions": 20}),
    "deberta with buckets for longer texts": (deberta_checkpoint, {"max_relative_positions": 512}),
    "deberta with position projections of its own": (deberta_checkpoint, {"share_att_key": False}),
    "deberta with content to position only": (deberta_checkpoint, {"pos_att_type": ["c2p"]}),
    "deberta with position to content only": (deberta_checkpoint, {"pos_att_type": ["p2c"], "share_att_key": False}),
    "deberta with neither": (deberta_checkpoint, {"pos_att_type": []}),
    "deberta with positions and types in its input": (
        deberta_checkpoint,
        {"position_biased_input": True, "type_vocab_size": 2, "norm_rel_ebd": "none"},
    ),
    "deberta with narrower embeddings": (deberta_checkpoint, {"embedding_size": 16}),
}


def _documents(seed: int, count: int = 12) -> list[str]:
    words = random.Random(seed)
    return [" ".join(words.choices(WORDS, k=words.choice([0, 1, 3, 10, 40, 200]))) for _ in range(count)]


async def _agrees(engine: Engine, model: LoadedModel, base: Path) -> None:
    engine.serve(Serving(model))
    documents = [_documents(seed) for seed in range(len(QUERIES))]
    results = await asyncio.gather(
        *(engine.score(ScoreRequest(query, texts)) for query, texts in zip(QUERIES, documents, strict=True))
    )
    scores = [score for result in results for score in result.scores]
    expected = [
        logit
        for query, texts in zip(QUERIES, documents, strict=True)
        for logit in reference_logits(base, query, texts, max_length=model.max_length)
    ]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert max(scores) - min(scores) > 0.1, "scores that hardly differ prove little"


@pytest.mark.parametrize("by", ["kernel", "torch"])
async def test_a_familys_scores_are_its_references_scores(
    engine: Engine, model: LoadedModel, base: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "torch":  # as where the worker was installed without a compiler
        monkeypatch.setattr(attention_kernel, "covers", lambda *_, **__: False)
    await _agrees(engine, model, base)


async def test_jinas_layout_scores_as_transformers_own(engine: Engine, tmp_path: Path) -> None:
    folder = jina_checkpoint(tmp_path, seed=3)
    await _agrees(engine, engine.load_model(folder, "jina-3", RAW), folder / "plain")


async def test_a_modernbert_of_mmberts_kind_scores_as_its_reference(engine: Engine, tmp_path: Path) -> None:
    folder = edit_config(modernbert_checkpoint(tmp_path, seed=5), position_embedding_type="sans_pos")
    await _agrees(engine, engine.load_model(folder, "sans-pos-1", RAW), folder)


@pytest.mark.parametrize(("write", "config"), VARIANTS.values(), ids=VARIANTS)
async def test_a_variants_scores_are_its_references_scores(
    engine: Engine, write: Callable[..., Path], config: dict[str, Any], tmp_path: Path
) -> None:
    folder = write(tmp_path, seed=5, **config)
    await _agrees(engine, engine.load_model(folder, "variant-1", RAW), folder)


async def test_only_the_document_is_cut(engine: Engine, base: Path) -> None:
    model = engine.load_model(base, "short-1", EngineSettings(dtype="float32", scores="raw", max_length=24))
    engine.serve(Serving(model))
    query, documents = "fast web server", ["network " * 60, "a", "sound image " * 8]
    result = await engine.score(ScoreRequest(query, documents))
    assert result.scores == pytest.approx(reference_logits(base, query, documents, max_length=24), abs=1e-4)
    with pytest.raises(InvalidRequest, match="query has"):
        await engine.score(ScoreRequest("network " * 60, ["a"]))


def test_a_low_precision_model_scores_near_the_full_one(engine: Engine, model: LoadedModel, base: Path) -> None:
    low = engine.load_model(base, "low-1", EngineSettings(dtype="bfloat16", scores="raw"))
    scores = []
    for loaded in (model, low):
        engine.serve(Serving(loaded))
        scores.append(asyncio.run(engine.score(ScoreRequest("fast web server", _documents(7)))).scores)
    assert scores[1] == pytest.approx(scores[0], abs=0.3)
    assert scores[1] != scores[0]
    assert not are_rounded(scores[1]), "documents would share their scores"


def test_a_head_in_folders_of_its_own_is_said_not_to_be_read(engine: Engine, tmp_path: Path) -> None:
    # Ettin's rerankers: the head lies in 2_Dense, 3_LayerNorm and 4_Dense.
    folder = edit_config(modernbert_checkpoint(tmp_path), architectures=["ModernBertModel"])
    with pytest.raises(CheckpointError, match=r"Sentence Transformers.*2_Dense.*isn't read") as refusal:
        engine.load_model(folder, "x", RAW)
    assert refusal.value.reason == "MissingHead"


REFUSALS: dict[str, tuple[str, dict[str, object], str]] = {
    "an unknown pooling": ("modernbert", {"classifier_pooling": "max"}, "InvalidCheckpoint"),
    "rotary tables that change with the text": (
        "modernbert",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 160000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            }
        },
        "UnsupportedArchitecture",
    ),
    "a convolution": ("deberta", {"conv_kernel_size": 3}, "UnsupportedArchitecture"),
    "absolute positions alone": ("deberta", {"relative_attention": False}, "UnsupportedArchitecture"),
    "rotary positions in Jina's layout": (
        "jina",
        {"position_embedding_type": "rotary"},
        "UnsupportedArchitecture",
    ),
    "more layers than Jina's file holds": ("jina", {"num_hidden_layers": 3}, "InvalidCheckpoint"),
    "a decoder": ("electra", {"is_decoder": True}, "UnsupportedArchitecture"),
    "a checkpoint without a head": ("electra", {"architectures": ["ElectraForPreTraining"]}, "MissingHead"),
}


@pytest.mark.parametrize(("name", "members", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_checkpoint_is_refused_for(
    engine: Engine, name: str, members: dict[str, object], reason: str, tmp_path: Path
) -> None:
    folder = edit_config(FAMILIES[name](tmp_path), "config.json", **members)
    with pytest.raises(CheckpointError) as refusal:
        engine.load_model(folder, "x", RAW)
    assert refusal.value.reason == reason


def _with_a_row_too_many(tensors: dict[str, torch.Tensor]) -> None:
    name = "roberta.encoder.layers.1.mixer.Wqkv.weight"
    tensors[name] = torch.cat([tensors[name], tensors[name][:1]])


def _with_a_query_beside(tensors: dict[str, torch.Tensor]) -> None:
    fused = tensors["roberta.encoder.layers.1.mixer.Wqkv.weight"]
    tensors["roberta.encoder.layer.1.attention.self.query.weight"] = fused[: len(fused) // 3].clone()


def _with_queries_apart(tensors: dict[str, torch.Tensor]) -> None:
    fused = tensors.pop("roberta.encoder.layers.1.mixer.Wqkv.weight")
    third = len(fused) // 3
    tensors["roberta.encoder.layers.1.mixer.Wq.weight"] = fused[:third].clone()
    tensors["roberta.encoder.layers.1.mixer.Wkv.weight"] = fused[third:].clone()


def test_only_jinas_layout_needs_no_type_of_model(engine: Engine, tmp_path: Path) -> None:
    folder = jina_checkpoint(tmp_path)
    engine.load_model(edit_config(folder, model_type="xlm-roberta"), "x", RAW)  # as later code of its authors writes
    with pytest.raises(CheckpointError, match="no model_type") as refusal:
        engine.load_model(edit_config(folder / "plain", model_type=None), "x", RAW)
    assert refusal.value.reason == "UnsupportedArchitecture"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_with_a_row_too_many, "InvalidCheckpoint"),
        (_with_a_query_beside, "InvalidCheckpoint"),
        (_with_queries_apart, "RemoteCode"),
    ],
    ids=["a row too many", "a query twice", "queries apart from keys"],
)
def test_a_checkpoint_in_jinas_layout_is_refused_for(
    engine: Engine, spoil: Callable[[dict[str, torch.Tensor]], None], reason: str, tmp_path: Path
) -> None:
    folder = jina_checkpoint(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    spoil(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as refusal:
        engine.load_model(folder, "x", RAW)
    assert refusal.value.reason == reason


def test_an_unknown_architecture_is_refused_by_name_with_those_known(engine: Engine, tmp_path: Path) -> None:
    folder = edit_config(electra_checkpoint(tmp_path), architectures=["T5ForSequenceClassification"])
    with pytest.raises(CheckpointError, match="T5ForSequenceClassification") as refusal:
        engine.load_model(folder, "x", RAW)
    assert refusal.value.reason == "UnsupportedArchitecture"
    for name in KNOWN:
        assert name in refusal.value.message
