"""The compiled sum and norm against torch's in float64, and what is left to torch."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

from reranker_worker.kernels import library
from reranker_worker.kernels.residual_norm import residual_norm
from tests.fixtures.processor import processor_without


class Precision(NamedTuple):
    """In what it is computed, with which of the processor's instructions, and how exact that is."""

    dtype: torch.dtype
    tolerance: float
    without: str = "nothing"


PRECISIONS = [
    Precision(torch.float32, 1e-5),
    Precision(torch.float32, 1e-5, without="avx512"),
    Precision(torch.bfloat16, 2**-8),
    Precision(torch.bfloat16, 2**-8, without="avx512"),
]


@pytest.fixture(params=PRECISIONS, ids=lambda each: f"{each.dtype} without {each.without}".removeprefix("torch."))
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    chosen: Precision = request.param
    with processor_without(chosen.without):
        yield chosen


class Never(nn.LayerNorm):
    """A norm whose torch is never called."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - nn.LayerNorm's name for it
        raise AssertionError(f"torch norms {tuple(input.shape)}")


def norm_of(width: int, dtype: torch.dtype, kind: type[nn.LayerNorm] = nn.LayerNorm) -> nn.LayerNorm:
    norm = kind(width, eps=1e-12)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.to(dtype)


def exact(states: torch.Tensor, residual: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    weight, bias = norm.weight.double(), norm.bias.double()
    return functional.layer_norm(states.double() + residual.double(), norm.normalized_shape, weight, bias, norm.eps)


@pytest.mark.skipif(not library.is_compiled(), reason="without a C compiler the sum and the norm are torch's")
@pytest.mark.parametrize("width", [16, 48, 384, 1024, 8192])
@pytest.mark.parametrize("rows", [1, 33, 300])
@torch.inference_mode()
def test_each_row_is_the_norm_of_the_sum(rows: int, width: int, precision: Precision) -> None:
    torch.manual_seed(rows + width)
    states, residual = ((torch.randn(1, rows, width) * 3 + 1).to(precision.dtype) for _ in range(2))
    norm = norm_of(width, precision.dtype, Never)
    found = residual_norm(states, residual, norm)
    assert found.dtype is precision.dtype
    wanted = exact(states, residual, norm)
    torch.testing.assert_close(found.double(), wanted, atol=precision.tolerance, rtol=precision.tolerance)


@torch.inference_mode()
def test_one_row_that_is_no_number_leaves_the_others(precision: Precision) -> None:
    states, residual = (torch.randn(3, 64).to(precision.dtype) for _ in range(2))
    states[1, 5] = float("nan")
    found = residual_norm(states, residual, norm_of(64, precision.dtype))
    assert found.isnan().all(dim=1).tolist() == [False, True, False]
    assert found[0].isfinite().all()
    assert found[2].isfinite().all()


@pytest.mark.parametrize(
    ("states", "residual", "dtype"),
    [
        (torch.randn(2, 24), torch.randn(2, 24), torch.float32),
        (torch.randn(2, 64)[:, ::2], torch.randn(2, 32), torch.float32),
        (torch.randn(2, 32), torch.randn(1, 32), torch.float32),
        (torch.randn(2, 32).half(), torch.randn(2, 32).half(), torch.float16),
        (torch.randn(2, 8208), torch.randn(2, 8208), torch.float32),
    ],
    ids=["a width between", "numbers apart", "one residual for all rows", "float16", "very wide rows"],
)
@torch.inference_mode()
def test_what_it_does_not_cover_is_left_to_torch(
    states: torch.Tensor, residual: torch.Tensor, dtype: torch.dtype
) -> None:
    norm = norm_of(states.shape[1], dtype)
    torch.testing.assert_close(residual_norm(states, residual, norm), norm(states + residual), atol=0, rtol=0)
