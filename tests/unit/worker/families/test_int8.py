"""Models whose linear layers are computed in int8, by the processor's units and emulated, held to the same in fp32."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from reranker_worker.device import cpu_flags, has_int8_units
from reranker_worker.kernels.int8_rows import Int8Rows, to_int8
from reranker_worker.models import int8
from reranker_worker.models.int8 import Int8Linear
from reranker_worker.models.lora import AdaptedLinear, LoraWeights, LowRank, adapting
from reranker_worker.scoring.engine import Engine
from reranker_worker.scoring.model_runner import full_precision
from reranker_worker.serving import EngineSettings, LoadedAdapter, LoadedModel
from tests.fixtures.checkpoints import lora_adapter
from tests.fixtures.scoring import apart, pair_scores, torch_runner

ROUNDED = {torch.float32: 2e-6, torch.bfloat16: 2**-7}
NEAR = 0.1
"""For models so small, whose scores lie some units apart; a trained one is held to less in tests/accuracy."""
UNITS = pytest.param(
    True, marks=pytest.mark.skipif(not has_int8_units(cpu_flags()), reason="the processor has no units for int8")
)


@pytest.fixture(params=[UNITS, False], ids=["units", "emulated"])
def laid_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    has: bool = request.param
    monkeypatch.setattr(int8, "has_int8_units", lambda _: has)
    return has


@pytest.fixture
def in_int8(engine: Engine, base: Path, laid_out: bool) -> LoadedModel:
    loaded = engine.load_model(base, f"{base.name}-int8", EngineSettings(dtype="int8", scores="raw"))
    inside = [layer for layer in torch_runner(loaded).module.modules() if isinstance(layer, Int8Linear)]
    assert inside
    assert all(layer.weights.is_mkldnn is laid_out for layer in inside)
    return loaded


def linear_of(width: int, out: int, dtype: torch.dtype, *, bias: bool = True) -> AdaptedLinear:
    linear = AdaptedLinear(width, out, bias=bias)
    linear.path = "dense"
    return linear.to(dtype).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("dtype", ROUNDED, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize(("rows", "width", "out"), [(1, 16, 16), (37, 48, 80), (300, 384, 96), (64, 1536, 384)])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_layers_products_are_exact(  # of what its inputs and weights were rounded to, as other tests say
    rows: int, width: int, out: int, dtype: torch.dtype, *, laid_out: bool, bias: bool
) -> None:
    linear, states = linear_of(width, out, dtype, bias=bias), torch.randn(1, rows, width).to(dtype)
    layer, rounded = Int8Linear.of(linear, laid_out=laid_out), to_int8(states[0])
    numbers = (rounded.bytes.double() - rounded.zero_point) * rounded.scales.double() + rounded.offsets.double()
    product = numbers @ layer.in_numbers().weight.double().T
    exact = product if linear.bias is None else product + linear.bias.double()
    found = layer(states)
    assert (found.shape, found.dtype) == ((1, rows, out), dtype)
    size = product.abs().amax()
    assert torch.allclose(found[0].double(), exact, rtol=ROUNDED[dtype], atol=ROUNDED[dtype] * size.item())


def test_gelu_stays_in_int8_until_the_next_product_unless_an_adapter_reads_it(*, laid_out: bool) -> None:
    first, second = (linear_of(*shape, torch.float32) for shape in ((48, 64), (64, 48)))
    states = torch.randn(1, 5, 48)
    expected = second(first.with_gelu(states, "none"))
    inner, outer = (Int8Linear.of(each, laid_out=laid_out) for each in (first, second))
    between = inner.with_gelu(states, "none")
    assert isinstance(between, Int8Rows)
    assert torch.allclose(outer(between), expected, atol=0.02)
    weights = LoraWeights({"dense": LowRank(torch.zeros(1, 48), torch.zeros(64, 1))})
    with adapting([(slice(0, 2), weights)]):
        between = inner.with_gelu(states, "none")
    assert isinstance(between, torch.Tensor)
    assert torch.allclose(outer(between), expected, atol=0.02)


def test_layers_of_one_input_share_its_bytes_unless_an_adapter_reads_it(*, laid_out: bool) -> None:
    layer, states = Int8Linear.of(linear_of(48, 64, torch.float32), laid_out=laid_out), torch.randn(1, 5, 48)
    shared = layer.prepared(states)
    assert isinstance(shared, Int8Rows)
    assert torch.equal(layer(shared), layer(states))
    with adapting([(slice(0, 2), LoraWeights({}))]):
        assert layer.prepared(states) is states


def test_a_layer_comes_back_in_numbers_off_by_half_a_step_at_most(*, laid_out: bool) -> None:
    linear = linear_of(48, 80, torch.bfloat16)
    back = Int8Linear.of(linear, laid_out=laid_out).in_numbers()
    step = linear.weight.float().abs().amax(1, keepdim=True) / 127
    assert back.weight.dtype is torch.float32
    assert ((back.weight - linear.weight.float()).abs() <= step * 0.5001).all()
    assert torch.equal(back.bias, linear.bias.float())


def test_all_linear_layers_but_the_heads_are_in_int8(in_int8: LoadedModel) -> None:
    family, module = torch_runner(in_int8).family, torch_runner(in_int8).module
    linears = {path: child for path, child in module.named_modules() if isinstance(child, nn.Linear)}
    inside = {path for path, linear in linears.items() if isinstance(linear, Int8Linear)}
    assert {path.partition(".")[0] for path in inside} == {family.backbone}
    assert all(f"{path}.".startswith(tuple(f"{head}." for head in family.head)) for path in linears.keys() - inside)
    assert in_int8.dtype == "int8"


def test_scores_are_near_those_in_fp32_and_others(in_int8: LoadedModel, model: LoadedModel) -> None:
    assert 0 < apart(pair_scores(in_int8), pair_scores(model)) < NEAR


def test_adapters_change_scores_as_in_fp32(
    engine: Engine, in_int8: LoadedModel, model: LoadedModel, base: Path, tmp_path: Path
) -> None:
    folder = lora_adapter(tmp_path / "everything", base, seed=1, target_modules="all-linear")
    changes = []
    for each in (model, in_int8):
        adapters: list[LoadedAdapter | None] = [None, engine.load_adapter(each, folder, "everything", "1", 16)]
        plain, mixed = pair_scores(each), pair_scores(each, *adapters)
        # Rows without the adapter keep their scores beside rows with it, but for what isn't kept in int8 there.
        assert mixed[::2] == pytest.approx(plain[::2], abs=0.25)
        changes.append([after - before for after, before in zip(mixed[1::2], plain[1::2], strict=True)])
    assert max(map(abs, changes[0])) > 0.4
    assert changes[1] == pytest.approx(changes[0], abs=0.4)


def test_what_isnt_finite_is_scored_again_in_fp32_with_the_same_weights(
    in_int8: LoadedModel, model: LoadedModel
) -> None:
    copied = full_precision(torch_runner(in_int8).module)
    assert not any(isinstance(layer, Int8Linear) for layer in copied.modules())
    assert all(weight.dtype is torch.float32 and not weight.is_meta for weight in copied.parameters())
    again = replace(in_int8, runner=replace(torch_runner(in_int8), module=copied))
    assert 0 < apart(pair_scores(again), pair_scores(model)) < NEAR
