"""A forward asks its device for no number: on a GPU it would wait for all that was begun before."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from reranker_worker.engine import Engine
from reranker_worker.kernels import attention
from reranker_worker.model_runner import ModelRunner
from reranker_worker.serving import EngineSettings, Limits, ScoringPair
from tests.fixtures.checkpoints import bert_checkpoint, xlm_roberta_checkpoint
from tests.fixtures.decoders import FAMILIES as DECODERS
from tests.fixtures.decoders import decoder_checkpoint
from tests.fixtures.families import FAMILIES as ENCODERS

CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "bert": bert_checkpoint,
    "xlm-roberta": xlm_roberta_checkpoint,
    **ENCODERS,
    **{name: lambda folder, name=name: decoder_checkpoint(folder, name) for name in DECODERS},  # type: ignore[misc]
}
# What these return is known to Python only once the device has computed it.
WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), "cpu")
    yield engine
    engine.close()


def operators(work: Callable[[], object]) -> set[str]:
    """Return the names of torch's operators that run."""
    with profile(activities=[ProfilerActivity.CPU]) as seen, torch.inference_mode():
        work()
    return {event.key for event in seen.key_averages()}


@pytest.mark.parametrize("family", CHECKPOINTS)
def test_a_forward_asks_its_device_for_nothing(
    engine: Engine, tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No GPU has this kernel, which reads bounds where they are.
    monkeypatch.setattr(attention, "covers", lambda *_, **__: False)
    model = engine.load_model(CHECKPOINTS[family](tmp_path), family, EngineSettings(dtype="float32", scores="raw"))
    encoded = model.tokenizer.encode_pairs(model.tokenizer.encode_query("web server"), ["a python library", "", "mail"])
    runner = model.runner
    assert isinstance(runner, ModelRunner)
    seen = operators(lambda: runner.forward(runner.module, [ScoringPair(pair) for pair in encoded]))
    assert "aten::linear" in seen
    assert not seen & WAITING


def test_a_number_that_is_asked_for_is_seen() -> None:
    assert operators(lambda: bool((torch.ones(2) > 0).all())) & WAITING
