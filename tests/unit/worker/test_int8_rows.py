"""Rows to int8 and products back, compiled and by torch, against the same in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from reranker_worker.kernels import int8_rows, library
from reranker_worker.kernels.int8_rows import ZERO_POINT, Int8Rows, Product, from_product, gelu_to_int8, to_int8
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
    return (rows.bytes.double() - rows.zero_point) * rows.scales.double() + rows.offsets.double()


def product_of(shape: tuple[int, ...], dtype: torch.dtype, *, biased: bool = True) -> Product:
    scales, offsets = torch.rand(*shape[:-1], 1) + 0.1, torch.randn(*shape[:-1], 1)
    rows = Int8Rows(torch.empty(0, dtype=torch.uint8), scales, offsets, ZERO_POINT)
    bias = torch.randn(shape[-1]).to(dtype) if biased else None
    return Product(torch.randn(shape).to(dtype) * 3, rows, torch.randn(shape[-1]), bias)


def exact(product: Product) -> torch.Tensor:
    numbers = product.of_bytes.double() * product.rows.scales.double()
    numbers += product.sums.double() * product.rows.offsets.double()
    return numbers if product.bias is None else numbers + product.bias.double()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_off_by_half_a_step_at_most_and_its_steps_go_from_its_lowest_to_its_highest_number(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    numbers = torch.randn(shape).to(dtype) * torch.rand(*shape[:-1], 1).to(dtype) * 10 + 1
    rows = to_int8(numbers)
    lowest, highest = numbers.double().aminmax(dim=-1, keepdim=True)
    assert torch.allclose(rows.scales.double(), (highest - lowest) / 254, rtol=1e-6)
    assert ((numbers_of(rows) - numbers.double()).abs() <= rows.scales.double() * 0.501).all()
    assert (rows.bytes.amin(-1) == ZERO_POINT - 127).all()
    assert (rows.bytes.amax(-1) == ZERO_POINT + 127).all()


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_gets_its_rows_scales_and_offsets_and_the_bias(
    shape: tuple[int, ...], dtype: torch.dtype, *, biased: bool
) -> None:
    product = product_of(shape, dtype, biased=biased)
    found = from_product(product)
    assert found.dtype is dtype
    assert torch.allclose(found.double(), exact(product), rtol=ROUNDED[dtype], atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gelu_comes_between_a_product_and_the_next_ones_rows(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    product = product_of(shape, dtype)
    rows = gelu_to_int8(product)
    assert ((numbers_of(rows) - functional.gelu(exact(product))).abs() <= rows.scales.double() * 0.501 + 2e-6).all()


@pytest.mark.parametrize("point", [0.0, 1e-4, -1e-4, 0.5, -0.5, 1, -1, 2, -2, 4, -4, 6, -6, 9, -9, 30])
def test_gelu_is_exact_on_both_sides_of_zero_and_far_from_it(point: float, dtype: torch.dtype) -> None:
    of_bytes, one = torch.full((1, 16), point).to(dtype), torch.ones(1, 1)  # a row without steps is its offset
    rows = Int8Rows(torch.empty(0, dtype=torch.uint8), one, one, ZERO_POINT)
    row = gelu_to_int8(Product(of_bytes, rows, torch.zeros(16), None))
    expected = functional.gelu(of_bytes[0, 0].double()).item()
    assert numbers_of(row)[0, 0].item() == pytest.approx(expected, rel=1e-5, abs=2e-6)


@pytest.mark.parametrize("number", [0.0, 1.5, -3.0])
def test_a_row_of_equal_numbers_stays_what_it_is(number: float, dtype: torch.dtype) -> None:
    assert (numbers_of(to_int8(torch.full((2, 32), number, dtype=dtype))) == number).all()


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 17, 47])
def test_a_number_that_isnt_finite_shows_in_its_rows_scale_alone(spoilt: float, place: int, dtype: torch.dtype) -> None:
    numbers = torch.ones(3, 48, dtype=dtype)
    numbers[1, place] = spoilt
    assert to_int8(numbers).scales.isfinite().flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("numbers", [torch.randn(3, 20), torch.randn(32, 6).T, torch.randn(2, 16).half()])
def test_what_the_compiled_code_doesnt_cover_is_torchs(numbers: torch.Tensor) -> None:
    rows = to_int8(numbers)
    assert ((numbers_of(rows) - numbers.double()).abs() <= rows.scales.double() * 0.501).all()
