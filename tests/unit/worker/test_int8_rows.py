"""Rows to int8 and products back, compiled and by torch, against the same in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from reranker_worker.kernels import int8_rows, library
from reranker_worker.kernels.int8_rows import LARGEST, ZERO_POINT, Int8Rows, from_product, gelu_to_int8, to_int8
from tests.fixtures.processor import processor_without

ROUNDED = {torch.float32: 1e-6, torch.bfloat16: 2**-8}
"""The most that numbers stored so are off, as a share of them."""
SHAPES = [(1, 16), (33, 48), (5, 3, 384), (300, 1536), (2, 32768)]


@pytest.fixture(params=["compiled", "compiled without avx512", "torch"], autouse=True)
def _by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "torch":  # as where the worker was installed without a compiler
        monkeypatch.setattr(int8_rows, "_FUNCTIONS", ())
    elif not library.is_compiled():
        pytest.skip("without a C compiler all of it is torch's")
    with processor_without("avx512" if request.param.endswith("avx512") else "nothing"):
        yield


@pytest.fixture(params=ROUNDED, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


def numbers_of(rows: Int8Rows) -> torch.Tensor:
    return (rows.bytes.double() - ZERO_POINT) * rows.scales.double()


def product_of(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a product, its rows' scales and a bias."""
    scales = torch.rand(*shape[:-1], 1) + 0.1
    return torch.randn(shape).to(dtype) * 3, scales, torch.randn(shape[-1]).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_off_by_half_a_step_at_most_and_its_largest_number_takes_all_127(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    numbers = torch.randn(shape).to(dtype) * torch.rand(*shape[:-1], 1).to(dtype) * 10
    rows = to_int8(numbers)
    largest = numbers.double().abs().amax(-1, keepdim=True)
    assert torch.allclose(rows.scales.double(), largest / LARGEST, rtol=1e-6)
    assert ((numbers_of(rows) - numbers.double()).abs() <= rows.scales.double() * 0.5001).all()
    assert ((rows.bytes.int() - ZERO_POINT).abs().amax(-1) == LARGEST).all()


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_gets_its_rows_scale_and_the_bias(
    shape: tuple[int, ...], dtype: torch.dtype, *, biased: bool
) -> None:
    product, scales, bias = product_of(shape, dtype)
    exact = product.double() * scales.double() + (bias.double() if biased else 0)
    found = from_product(product, scales, bias if biased else None)
    assert found.dtype is dtype
    assert torch.allclose(found.double(), exact, rtol=ROUNDED[dtype], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gelu_comes_between_a_product_and_the_next_ones_rows(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    product, scales, bias = product_of(shape, dtype)
    exact = functional.gelu(product.double() * scales.double() + bias.double())
    rows = gelu_to_int8(product, scales, bias)
    assert ((numbers_of(rows) - exact).abs() <= rows.scales.double() * 0.501 + 2e-6).all()


def test_gelu_is_exact_on_both_sides_of_zero_and_far_from_it(dtype: torch.dtype) -> None:
    points = torch.tensor([0.0, 1e-4, -1e-4, 0.5, -0.5, 1, -1, 2, -2, 4, -4, 6, -6, 9, -9, 30]).to(dtype)
    one = torch.ones(1, 1)
    for point in points:  # a row for each, so that its step is as small as it is
        row = gelu_to_int8(point.expand(1, 16).contiguous(), one, None)
        assert numbers_of(row)[0, 0].item() == pytest.approx(functional.gelu(point.double()).item(), rel=1e-3, abs=2e-6)


def test_a_row_of_zeros_stays_zeros(dtype: torch.dtype) -> None:
    rows = to_int8(torch.zeros(2, 32, dtype=dtype))
    assert (rows.bytes == ZERO_POINT).all()
    assert (rows.scales == 0).all()


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 17, 47])
def test_a_number_that_isnt_finite_shows_in_its_rows_scale_alone(spoilt: float, place: int, dtype: torch.dtype) -> None:
    numbers = torch.ones(3, 48, dtype=dtype)
    numbers[1, place] = spoilt
    assert to_int8(numbers).scales.isfinite().flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("numbers", [torch.randn(3, 20), torch.randn(32, 6).T, torch.randn(2, 16).half()])
def test_what_the_compiled_code_doesnt_cover_is_torchs(numbers: torch.Tensor) -> None:
    rows = to_int8(numbers)
    assert ((numbers_of(rows) - numbers.double()).abs() <= rows.scales.double() * 0.5001).all()
