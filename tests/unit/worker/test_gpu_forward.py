"""The forward that a GPU runs, on a device without numbers: none is read, and nothing is made on another device.

A GPU that is asked for a number has to do first all that was begun before, so no batch could be begun ahead.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reranker_worker.models import causal_attention, varlen
from reranker_worker.models.lora import LoraWeights, LowRank, Replacement
from reranker_worker.scoring import decoder_runner, model_runner
from reranker_worker.scoring.engine import Engine
from reranker_worker.scoring.model_runner import ModelRunner
from reranker_worker.serving import DType, EngineSettings, Limits, LoadedAdapter, ScoringPair
from tests.fixtures import decoders
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter, xlm_roberta_checkpoint
from tests.fixtures.families import FAMILIES as ENCODERS
from tests.fixtures.families import modernbert_checkpoint

CHECKPOINTS: Mapping[str, Callable[[Path], Path]] = {
    "bert": bert_checkpoint,
    "xlm-roberta": xlm_roberta_checkpoint,
    **ENCODERS,
    "modernbert, mean": lambda folder: modernbert_checkpoint(folder, classifier_pooling="mean"),
    **{name: lambda folder, name=name: decoders.decoder_checkpoint(folder, name) for name in decoders.FAMILIES},  # type: ignore[misc]
}
DOCUMENTS = ["a python library", "", "mail, font, music", "web " * 100]
NOWHERE = torch.device("meta")
HALVES = (torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), "cpu")
    yield engine
    engine.close()


@pytest.fixture
def varlen_calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Take the device without numbers for a GPU; holds the shapes that torch's operator was called with."""
    for module in (model_runner, decoder_runner, causal_attention):
        monkeypatch.setattr(module, "copied", lambda tensor, device: tensor.to(device))
    calls: list[torch.Size] = []

    def covers(query: torch.Tensor) -> bool:
        if query.is_meta and query.dtype in HALVES:
            calls.append(query.shape)
        return query.is_meta and query.dtype in HALVES

    monkeypatch.setattr(varlen, "covers", covers)
    return calls


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("family", CHECKPOINTS)
def test_a_forward_needs_no_number(
    engine: Engine, varlen_calls: list[torch.Size], tmp_path: Path, family: str, dtype: DType
) -> None:
    folder = CHECKPOINTS[family](tmp_path / "base")
    model = engine.load_model(folder, family, EngineSettings(dtype=dtype, scores="raw"))
    write = decoders.decoder_lora if family in decoders.FAMILIES else lora_adapter
    path = write(tmp_path / "adapter", folder, target_modules="all-linear")
    adapter = without_numbers(engine.load_adapter(model, path, "a", "a-1", 16))
    encoded = model.tokenizer.encode_pairs(model.tokenizer.encode_query("web server"), DOCUMENTS)
    pairs = [ScoringPair(encoded[0]), *(ScoringPair(pair, adapter) for pair in encoded[1:])]
    assert isinstance(model.runner, ModelRunner)
    runner = replace(model.runner, module=deepcopy(model.runner.module).to(NOWHERE), device=NOWHERE)
    with torch.inference_mode():
        for _ in ("computed", "a decoder's prefix is kept"):
            logits = runner.forward(runner.module, pairs)
            assert (logits.device, logits.dtype, logits.shape) == (NOWHERE, torch.float32, (len(pairs),))
    assert bool(varlen_calls) == (dtype == "float16" and family != "deberta")


def without_numbers(adapter: LoadedAdapter) -> LoadedAdapter:
    """Return an adapter on the device without numbers."""
    assert isinstance(adapter.weights, LoraWeights)

    def moved(change: LowRank | Replacement) -> LowRank | Replacement:
        match change:
            case LowRank(down, up):
                return LowRank(down.to(NOWHERE), up.to(NOWHERE))
            case Replacement(weight, bias):
                return Replacement(weight.to(NOWHERE), None if bias is None else bias.to(NOWHERE))

    changes = {layer: moved(change) for layer, change in adapter.weights.changes.items()}
    return replace(adapter, weights=LoraWeights(changes, adapter.weights.rank))
