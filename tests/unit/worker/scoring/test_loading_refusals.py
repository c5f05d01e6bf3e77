"""Checkpoints that can't be served: each is refused with its own reason, before it could answer."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_worker.errors import CheckpointError
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import ScoreRequest, Serving
from tests.fixtures.checkpoints import bert_checkpoint, edit_config, xlm_roberta_checkpoint
from tests.fixtures.reference import reference_logits

from .conftest import RAW

Spoil = Callable[[Path], object]


def _config(**members: object) -> Spoil:
    return lambda folder: edit_config(folder, "config.json", **members)


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")

    return edit


def _pickled(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(tensors))


def _truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _huge_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])


def _overlap(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    twins = [name for name in header if name.endswith("LayerNorm.weight")][:2]
    header[twins[0]]["data_offsets"] = header[twins[1]]["data_offsets"]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def _traversal(folder: Path) -> None:
    index = {"weight_map": {"classifier.weight": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors["bert.encoder.layer.1.output.dense.weight"][3, 3] = float("inf")


def _explode(tensors: dict[str, torch.Tensor]) -> None:
    tensors["bert.encoder.layer.1.output.LayerNorm.weight"] *= 1e38
    tensors["bert.pooler.dense.weight"] *= 1e38


def _wrong_tokenizer(folder: Path) -> None:
    other = xlm_roberta_checkpoint(folder / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] += [[f"extra{i}", -9.0] for i in range(200)]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def _one_type(folder: Path) -> None:
    edit_config(folder, type_vocab_size=1)
    table = "bert.embeddings.token_type_embeddings.weight"
    _tensors(lambda tensors: tensors.update({table: tensors[table][:1]}))(folder)


REFUSALS: dict[str, tuple[Spoil, str, str]] = {
    "no configuration": (lambda f: (f / "config.json").unlink(), "InvalidCheckpoint", "config.json is missing"),
    "configuration that isn't JSON": (lambda f: (f / "config.json").write_text("{"), "InvalidCheckpoint", "JSON"),
    "configuration nested too deep": (
        lambda f: (f / "config.json").write_text("[" * 100_000),
        "InvalidCheckpoint",
        "JSON",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "InvalidCheckpoint", "missing"),
    "pickled weights": (_pickled, "PickledWeights", "pytorch_model.bin"),
    "unknown architecture": (
        _config(architectures=["GPT2Model"]),
        "UnsupportedArchitecture",
        "known: BertForSequenceClassification, .*XLMRoberta",
    ),
    "no architecture": (_config(architectures=None), "UnsupportedArchitecture", "known"),
    "no type of model": (
        _config(model_type=None),
        "UnsupportedArchitecture",
        "has no model_type, .* accepted: model_type 'bert'",
    ),
    "another type of model": (_config(model_type="nomic_bert"), "UnsupportedArchitecture", "has model_type 'nomic_b"),
    "remote code": (_config(architectures=["NewModel"], auto_map={"AutoModel": "x.Y"}), "RemoteCode", "auto_map"),
    "remote code under a known name": (
        lambda f: (
            edit_config(f, auto_map={"AutoModel": "x.Y"}),
            _tensors(lambda t: t.pop("bert.encoder.layer.0.attention.self.key.weight"))(f),
        ),
        "RemoteCode",
        "laid out",
    ),
    "a model without a head": (_config(architectures=["BertModel"]), "MissingHead", "no scoring head"),
    "no classifier in the weights": (
        _tensors(lambda t: (t.pop("classifier.weight"), t.pop("classifier.bias"))),
        "MissingHead",
        "classifier",
    ),
    "no pooler in the weights": (_tensors(lambda t: t.pop("bert.pooler.dense.weight")), "MissingHead", "pooler"),
    "two labels": (_config(id2label={"0": "no", "1": "yes"}), "UnsupportedArchitecture", "2 labels"),
    "a decoder": (_config(is_decoder=True), "UnsupportedArchitecture", "is_decoder"),
    "relative positions": (
        _config(position_embedding_type="relative_key"),
        "UnsupportedArchitecture",
        "position_embedding_type",
    ),
    "quantised": (_config(quantization_config={"bits": 4}), "UnsupportedArchitecture", "quantization_config"),
    "a layer without its biases": (
        _tensors(lambda t: [t.pop(name) for name in list(t) if ".layer.1." in name and name.endswith("dense.bias")]),
        "InvalidCheckpoint",
        "3 tensors",
    ),
    "a layer too few": (
        _tensors(lambda t: [t.pop(name) for name in list(t) if ".layer.1." in name]),
        "InvalidCheckpoint",
        "at least",
    ),
    "a surplus layer": (_config(num_hidden_layers=1), "InvalidCheckpoint", "doesn't have"),
    "a wrong shape": (
        _tensors(lambda t: t.update({"bert.pooler.dense.bias": torch.zeros(7)})),
        "InvalidCheckpoint",
        r"\[7\]",
    ),
    "whole numbers for weights": (
        _tensors(lambda t: t.update({"bert.pooler.dense.bias": torch.zeros(64, dtype=torch.int64)})),
        "InvalidCheckpoint",
        "I64",
    ),
    "more layers than the files hold": (_config(num_hidden_layers=1000), "InvalidCheckpoint", "at least"),
    "more layers than any model has": (_config(num_hidden_layers=10**9), "InvalidCheckpoint", "layers"),
    "a vocabulary of terabytes": (_config(vocab_size=2**31 - 1), "InvalidCheckpoint", "at least"),
    "a size that is no number": (_config(hidden_size="32"), "InvalidCheckpoint", "hidden_size"),
    "heads that don't divide": (_config(num_attention_heads=5), "InvalidCheckpoint", "heads"),
    "an unknown activation": (_config(hidden_act="magic"), "InvalidCheckpoint", "config.json"),
    "truncated": (_truncated, "InvalidCheckpoint", "truncated"),
    "an empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), "InvalidCheckpoint", "truncated"),
    "a header larger than the file": (_huge_header, "InvalidCheckpoint", "header"),
    "tensors over each other": (_overlap, "InvalidCheckpoint", "overlap"),
    "a shard outside the folder": (_traversal, "InvalidCheckpoint", "beside it"),
    "a weight that isn't finite": (_tensors(_poison), "NonFiniteScores", "layer.1.output.dense.weight"),
    "scores that aren't finite": (_tensors(_explode), "NonFiniteScores", "finite"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "InvalidTokenizer", "missing"),
    "a tokenizer that isn't one": (lambda f: (f / "tokenizer.json").write_text("{}"), "InvalidTokenizer", "read"),
    "a tokenizer's configuration that isn't JSON": (
        lambda f: (f / "tokenizer_config.json").write_text("{"),
        "InvalidTokenizer",
        "tokenizer_config.json isn't JSON",
    ),
    "another model's tokenizer": (_wrong_tokenizer, "InvalidTokenizer", "two models"),
    "a tokenizer with more types": (_one_type, "InvalidTokenizer", "type 1, .* type_vocab_size 1: .* up to 0"),
}


@pytest.mark.parametrize(("spoil", "reason", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_checkpoint_is_refused_for(engine: Engine, tmp_path: Path, spoil: Spoil, reason: str, words: str) -> None:
    folder = bert_checkpoint(tmp_path)
    spoil(folder)
    with pytest.raises(CheckpointError, match=words) as refusal:
        engine.load_model(folder, "x-1", RAW)
    assert refusal.value.reason == reason
    assert str(tmp_path) not in refusal.value.message


def _legacy_names(folder: Path) -> None:
    path = folder / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, tensor in load_file(path).items():
        ending = next((ending for ending in old if name.endswith(ending)), "")
        renamed[name.removesuffix(ending) + old.get(ending, "")] = tensor
    save_file(renamed, path)


def _two_shards(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(names.values()):
        save_file({name: tensor for name, tensor in tensors.items() if names[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


SERVED: dict[str, Spoil] = {
    "half precision on disk": _tensors(lambda t: t.update({name: tensor.half() for name, tensor in t.items()})),
    "two shards": _two_shards,
    "old names": _legacy_names,
    "the positions' buffer": _tensors(
        lambda t: t.update({"bert.embeddings.position_ids": torch.arange(128).unsqueeze(0)})
    ),
    "the pretraining heads": _tensors(lambda t: t.update({"cls.predictions.bias": torch.zeros(9)})),
    "auto_map with a built-in architecture": _config(auto_map={"AutoModel": "x.Y"}),
}


@pytest.mark.parametrize("spell", SERVED.values(), ids=SERVED)
async def test_a_checkpoint_is_served_with(engine: Engine, tmp_path: Path, spell: Spoil) -> None:
    documents = ["a fast editor", "chemistry"]
    expected = reference_logits(bert_checkpoint(tmp_path / "plain"), "web", documents)
    folder = bert_checkpoint(tmp_path / "spelt")
    spell(folder)
    engine.serve(Serving(engine.load_model(folder, "x-1", RAW)))
    result = await engine.score(ScoreRequest("web", documents))
    assert result.scores == pytest.approx(expected, abs=2e-2)
