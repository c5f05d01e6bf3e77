"""What bf16 units are given, held here to the same scores in fp32: weights laid out anew, and filled-up batches."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from reranker_worker.models import prepacked
from reranker_worker.scoring.engine import Engine
from reranker_worker.scoring.model_runner import full_precision
from reranker_worker.serving import EngineSettings, LoadedAdapter, LoadedModel
from tests.fixtures.checkpoints import lora_adapter
from tests.fixtures.families import ATTENTION
from tests.fixtures.scoring import pair_scores, scoring_pairs, torch_runner


@pytest.fixture
def laid_out(engine: Engine, base: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """The family's model as a CPU with bf16 units gets it, but in fp32, which others can compute too."""
    monkeypatch.setattr(prepacked, "pays", lambda *_, **__: True)
    return engine.load_model(base, f"{base.name}-laid-out", EngineSettings(dtype="float32", scores="raw"))


@pytest.fixture
def adapters(base: Path, family: str, tmp_path: Path) -> list[Path]:
    """One adapter of what is usually adapted, and one of everything."""
    return [
        lora_adapter(tmp_path / str(seed), base, seed=seed, target_modules=targets)
        for seed, targets in enumerate((ATTENTION[family], "all-linear"))
    ]


def test_all_linear_layers_but_the_heads_are_laid_out(laid_out: LoadedModel, model: LoadedModel) -> None:
    family, module = torch_runner(laid_out).family, torch_runner(laid_out).module
    linears = {path: child for path, child in module.named_modules() if isinstance(child, nn.Linear)}
    inside = {path for path, linear in linears.items() if linear.weight.is_mkldnn}
    assert inside
    assert {path.partition(".")[0] for path in inside} == {family.backbone}
    assert all(f"{path}.".startswith(tuple(f"{head}." for head in family.head)) for path in linears.keys() - inside)
    assert not any(weight.is_mkldnn for weight in torch_runner(model).module.parameters())


def test_scores_stay_what_they_are(laid_out: LoadedModel, model: LoadedModel) -> None:
    assert pair_scores(laid_out) == pytest.approx(pair_scores(model), abs=1e-5)


def test_adapters_are_loaded_onto_weights_that_are_laid_out_and_change_scores_as_ever(
    engine: Engine, laid_out: LoadedModel, model: LoadedModel, adapters: list[Path]
) -> None:
    changed: dict[str, list[LoadedAdapter | None]] = {}
    for each in (model, laid_out):
        loaded = [engine.load_adapter(each, folder, folder.name, "1", 16) for folder in adapters]
        changed[each.revision] = [None, *loaded]
    expected = pair_scores(model, *changed[model.revision])
    assert expected != pytest.approx(pair_scores(model), abs=1e-2)
    assert pair_scores(laid_out, *changed[laid_out.revision]) == pytest.approx(expected, abs=1e-4)


def test_the_copy_that_scores_again_what_was_not_finite_has_plain_weights(
    laid_out: LoadedModel, model: LoadedModel
) -> None:
    copied = full_precision(torch_runner(laid_out).module)
    assert not any(weight.is_mkldnn for weight in copied.parameters())
    again = replace(laid_out, runner=replace(torch_runner(laid_out), module=copied))
    assert pair_scores(again) == pytest.approx(pair_scores(model), abs=1e-5)


def test_the_filling_belongs_to_no_pair(laid_out: LoadedModel) -> None:
    pairs = scoring_pairs(laid_out)
    packed = torch_runner(laid_out).pack(pairs)
    tokens = sum(len(pair.encoded) for pair in pairs)
    assert packed.input_ids.shape[1] == packed.position_ids.shape[1] == prepacked.filled_up(tokens) > tokens
    assert packed.bounds[-1] == packed.cumulative[-1].item() == tokens


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [(1, 32), (32, 32), (33, 64), (200, 256), (256, 256), (257, 512), (2048, 2048), (2049, 2304)],
)
def test_batches_are_filled_up_to_powers_of_two_then_to_multiples(tokens: int, rows: int) -> None:
    assert prepacked.filled_up(tokens) == rows


def test_a_weight_comes_back_as_it_was() -> None:
    linear = nn.Linear(48, 80)
    before = linear.weight.clone()
    prepacked.prepack(nn.Sequential(linear))
    assert linear.weight.is_mkldnn
    assert torch.equal(prepacked.plain(linear.weight), before)


@pytest.mark.parametrize(
    ("dtype", "device", "bf16_units", "laid_out"),
    [
        (torch.bfloat16, "cpu", True, True),
        (torch.bfloat16, "cpu", False, False),
        (torch.float32, "cpu", True, False),
        (torch.float16, "cpu", True, False),
        (torch.bfloat16, "cuda", True, False),
    ],
    ids=["bf16 on its units", "bf16 emulated", "float32", "float16", "a GPU beside such a CPU"],
)
def test_weights_are_laid_out_only_for_bf16_on_a_cpu_that_computes_it(
    dtype: torch.dtype, device: str, *, bf16_units: bool, laid_out: bool
) -> None:
    assert prepacked.pays(dtype, torch.device(device), bf16_units=bf16_units) is laid_out
