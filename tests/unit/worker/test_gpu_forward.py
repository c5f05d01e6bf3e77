"""The forward that a GPU runs, on a device without numbers: none is read, and none copied but by `copied`.

A GPU that is asked for a number has to do first all that was begun before, so no batch could be begun ahead; and it is
waited for at a copy from memory that isn't pinned.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from reranker_worker.models import adapters, causal_attention, deberta, varlen
from reranker_worker.models.adapters import load_lora
from reranker_worker.models.loading import load_network
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
COPIES = {torch.ops.aten._to_copy, torch.ops.aten.copy_, torch.ops.aten.to, torch.ops.aten.type_as}
HALVES = (torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), "cpu")
    yield engine
    engine.close()


class StandIn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What the device without numbers was asked for as a GPU would be.

    varlen_calls: the shapes that torch's operator was called with. plain_copies: what was copied to it but by `copied`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.varlen_calls: list[torch.Size] = []
        self.plain_copies: list[str] = []
        self._pinned = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        from_cpu = any(isinstance(arg, torch.Tensor) and arg.device.type == "cpu" for arg in args)
        if func.overloadpacket in COPIES and from_cpu and result.is_meta and not self._pinned:
            self.plain_copies.append(str(func))
        return result

    def copied(self, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        self._pinned = True
        try:
            return tensor.to(device)
        finally:
            self._pinned = False

    def covers(self, query: torch.Tensor) -> bool:
        covered = query.is_meta and query.dtype in HALVES
        if covered:
            self.varlen_calls.append(query.shape)
        return covered


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Take the device without numbers for a GPU."""
    stand_in = StandIn()
    for module in (model_runner, decoder_runner, causal_attention, deberta, adapters):
        monkeypatch.setattr(module, "copied", stand_in.copied)
    monkeypatch.setattr(varlen, "covers", stand_in.covers)
    return stand_in


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("family", CHECKPOINTS)
def test_a_forward_needs_no_number_and_waits_for_no_copy(
    engine: Engine, gpu: StandIn, tmp_path: Path, family: str, dtype: DType
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
            with gpu:
                logits = runner.forward(runner.module, pairs)
            assert (logits.device, logits.dtype, logits.shape) == (NOWHERE, torch.float32, (len(pairs),))
    assert gpu.plain_copies == []
    assert bool(gpu.varlen_calls) == (dtype == "float16" and family != "deberta")


def test_an_adapters_load_waits_for_no_copy(gpu: StandIn, tmp_path: Path) -> None:
    folder = bert_checkpoint(tmp_path / "base")
    path = lora_adapter(tmp_path / "adapter", folder, head=True)
    module = load_network(folder, torch.float32, torch.device("cpu")).module
    with gpu:
        weights = load_lora(path, module, dtype=torch.float16, device=NOWHERE, max_rank=16)
    assert gpu.plain_copies == []
    copied = [change.up if isinstance(change, LowRank) else change.weight for change in weights.changes.values()]
    assert {(tensor.device, tensor.dtype) for tensor in copied} == {(NOWHERE, torch.float16)}
    assert {type(change) for change in weights.changes.values()} == {LowRank, Replacement}


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
    return replace(adapter, weights=LoraWeights(changes))
