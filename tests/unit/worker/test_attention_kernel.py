"""The compiled attention against torch's: every length, width and layout that a batch may have, and what isn't its."""

import shutil
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

import pytest
import torch
from structlog.testing import capture_logs
from torch.nn import functional

from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.kernels import library
from reranker_worker.models.attention import (
    PackedBatch,
    first_token_attention,
    first_token_attention_to_states,
    packed_attention,
    reads_states,
)
from reranker_worker.models.causal_attention import Segment, causal_batch, packed_causal_attention
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import Limits
from tests.fixtures.processor import processor_without

HEADS = 3
SCALING = 0.2
MIXED = (1, 2, 5, 6, 7, 31, 32, 33, 64, 65, 150)

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None and not library.is_compiled(),
    reason="there is no C compiler here, so the worker was installed without the kernel and uses torch's attention",
)


class Precision(NamedTuple):
    """In what attention is computed, with which of the processor's instructions, and how exact that is."""

    dtype: torch.dtype
    tolerance: float
    without: str = "nothing"


PRECISIONS = [
    pytest.param(Precision(torch.float32, 1e-5), id="float32"),
    pytest.param(Precision(torch.float32, 1e-5, without="avx512"), id="float32 without AVX-512"),
    pytest.param(
        Precision(torch.bfloat16, 0.02),
        id="bfloat16",
        marks=pytest.mark.skipif(
            not attention_kernel.covers(torch.zeros(1, 1, 1, 32, dtype=torch.bfloat16), longest=1),
            reason="this processor has no AVX512-BF16, and bf16 is torch's there",
        ),
    ),
]


@pytest.fixture(params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    chosen: Precision = request.param
    with processor_without(chosen.without):
        yield chosen


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def batch(lengths: tuple[int, ...], filling: int = 0) -> PackedBatch:
    bounds = [0, *accumulate(lengths)]
    row = torch.zeros(1, bounds[-1] + filling, dtype=torch.int64)
    edges = torch.tensor(bounds)
    return PackedBatch(row, row, row, edges[:-1], edges.to(torch.int32), bounds)


Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values."""


def states(tokens: int, width: int, dtype: torch.dtype, *, spread: float = 1) -> torch.Tensor:
    """Random ones as the linear layers leave them: heads side by side, [1, heads, tokens, width]."""
    numbers = torch.randn(1, tokens, HEADS * width) * spread
    return numbers.to(dtype).view(1, tokens, HEADS, width).transpose(1, 2)


def three_states(tokens: int, width: int, dtype: torch.dtype) -> Three:
    query, key, value = (states(tokens, width, dtype) for _ in range(3))
    return query, key, value


def expected(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packed: PackedBatch, *, first_only: bool = False
) -> torch.Tensor:
    """Each pair by itself, by torch, in float64."""
    output = torch.zeros(1, query.shape[2], HEADS, query.shape[3], dtype=torch.float64)
    for i, (start, end) in enumerate(pairwise(packed.bounds)):
        rows = slice(i, i + 1) if first_only else slice(start, end)
        mixed = functional.scaled_dot_product_attention(
            query[:, :, rows].double(), key[:, :, start:end].double(), value[:, :, start:end].double(), scale=SCALING
        )
        output[:, rows] = mixed.transpose(1, 2)
    return output


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packed: PackedBatch, window: int | None = None
) -> torch.Tensor:
    assert attention_kernel.covers(query, key, value, longest=packed.longest)
    module = torch.nn.Identity()
    mixed, _ = packed_attention(module, query, key, value, None, scaling=SCALING, packed=packed, sliding_window=window)
    return mixed


def test_the_kernel_is_compiled_where_there_is_a_compiler() -> None:
    assert library.is_compiled()


@pytest.mark.parametrize("width", [32, 64, 96, 128])
@pytest.mark.parametrize("lengths", [(1,), (17,), MIXED, MIXED[::-1], (700, 3)], ids=str)
@pytest.mark.usefixtures("_threads")
def test_pairs_attend_to_themselves_as_by_torch(lengths: tuple[int, ...], width: int, precision: Precision) -> None:
    torch.manual_seed(0)
    packed = batch(lengths)
    three = three_states(packed.bounds[-1], width, precision.dtype)
    torch.testing.assert_close(
        attend(*three, packed).double(), expected(*three, packed), atol=precision.tolerance, rtol=precision.tolerance
    )


def test_first_tokens_attend_to_their_pairs_as_by_torch(precision: Precision) -> None:
    torch.manual_seed(1)
    packed = batch(MIXED)
    query = states(len(MIXED), 32, precision.dtype)
    key, value = (states(packed.bounds[-1], 32, precision.dtype) for _ in range(2))
    mixed = first_token_attention(query, key, value, scaling=SCALING, packed=packed)
    wanted = expected(query, key, value, packed, first_only=True)
    torch.testing.assert_close(mixed.double(), wanted, atol=precision.tolerance, rtol=precision.tolerance)


@pytest.mark.usefixtures("_threads")
def test_first_tokens_read_states_as_they_would_keys_and_values(precision: Precision) -> None:
    torch.manual_seed(7)
    packed = batch(MIXED)
    hidden = HEADS * 32
    query, read = states(len(MIXED), 32, precision.dtype), torch.randn(1, packed.bounds[-1], hidden).to(precision.dtype)
    weights, bias = torch.randn(2, hidden, hidden) / hidden**0.5, torch.randn(hidden, dtype=torch.float64)
    assert reads_states(read, packed)
    mixed = first_token_attention_to_states(query, read, *weights, scaling=SCALING, packed=packed)
    # The key's bias, which changes no share, is left out by what is tested.
    key, value = (read.double() @ weight.double().T + bias for weight in weights)
    key, value = (each.view(1, -1, HEADS, 32).transpose(1, 2) for each in (key, value))
    wanted = expected(query, key, value, packed, first_only=True).flatten(2) - bias
    torch.testing.assert_close(mixed.double(), wanted, atol=precision.tolerance, rtol=precision.tolerance)


def test_states_of_very_long_pairs_are_not_read(precision: Precision) -> None:
    wide = torch.zeros(1, 1, 1024, dtype=precision.dtype)
    assert reads_states(wide, batch((1000,)))
    assert not reads_states(wide, batch((1025,)))
    assert not reads_states(wide[..., :1000], batch((1000,)))


@pytest.mark.parametrize("window", [1, 2, 17, 65, 150])
def test_local_layers_see_their_window_alone(window: int, precision: Precision) -> None:
    torch.manual_seed(6)
    packed = batch(MIXED)
    three = three_states(packed.bounds[-1], 32, precision.dtype)
    mixed = attend(*three, packed, window)
    for start, end in pairwise(packed.bounds):
        query, key, value = (each[:, :, start:end].double() for each in three)
        places = torch.arange(end - start)
        near = (places[:, None] - places).abs() < window
        wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=near, scale=SCALING)
        found = mixed[:, start:end].transpose(1, 2).double()
        torch.testing.assert_close(found, wanted, atol=precision.tolerance, rtol=precision.tolerance)


def test_scores_far_apart_are_neither_lost_nor_infinite(precision: Precision) -> None:
    torch.manual_seed(2)
    packed = batch(MIXED)
    query, key = (states(packed.bounds[-1], 32, precision.dtype, spread=30) for _ in range(2))
    value = states(packed.bounds[-1], 32, precision.dtype)
    mixed = attend(query, key, value, packed)
    # Where two keys' scores are nearly equal, float32's last digits decide; such rows are few.
    off = (mixed.double() - expected(query, key, value, packed)).abs() > precision.tolerance
    assert mixed.isfinite().all()
    assert off.double().mean() < 0.01


def test_a_pair_that_is_not_finite_spoils_no_other(precision: Precision) -> None:
    torch.manual_seed(3)
    packed = batch((9, 40, 9))
    query, key, value = three_states(packed.bounds[-1], 32, precision.dtype)
    key[:, :, 20] = float("nan")
    query[:, :, 15] = float("inf")
    mixed = attend(query, key, value, packed)
    assert mixed[:, 9:49].isnan().all()
    wanted = expected(query, key, value, packed)
    for rows in (slice(0, 9), slice(49, 58)):
        torch.testing.assert_close(
            mixed[:, rows].double(), wanted[:, rows], atol=precision.tolerance, rtol=precision.tolerance
        )


def test_tokens_of_no_pair_get_zeros() -> None:
    packed = batch((5, 9), filling=18)
    three = three_states(32, 32, torch.float32)
    mixed = attend(*three, packed)
    assert mixed[:, :14].abs().min() > 0
    assert torch.equal(mixed[:, 14:], torch.zeros_like(mixed[:, 14:]))


def test_states_may_lie_otherwise_in_memory() -> None:
    torch.manual_seed(4)
    packed = batch(MIXED)
    tokens = packed.bounds[-1]
    together = torch.randn(1, tokens, 3, HEADS, 64)  # as one product of all three leaves them
    by_head = torch.randn(1, HEADS, tokens, 64)
    query, value = together[:, :, 0].transpose(1, 2), together[:, :, 2].transpose(1, 2)
    wanted = expected(query, by_head, value, packed)
    torch.testing.assert_close(attend(query, by_head, value, packed).double(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("compiled", "warnings"), [(True, 0), (False, 1)])
def test_a_worker_without_it_says_so(monkeypatch: pytest.MonkeyPatch, *, compiled: bool, warnings: int) -> None:
    monkeypatch.setattr(library, "is_compiled", lambda: compiled)
    engine = Engine(Limits(), "cpu")
    with capture_logs() as logs:
        engine.start()
    engine.close()
    assert len([line for line in logs if "attention" in line["event"]]) == warnings


@pytest.mark.parametrize(
    "query",
    [
        torch.zeros(1, 2, 4, 24),
        torch.zeros(1, 2, 4, 32, dtype=torch.float16),
        torch.zeros(1, 2, 4, 32, device="meta"),
        torch.zeros(1, 2, 32, 4).transpose(2, 3),
    ],
    ids=["a width between", "float16", "another device", "numbers apart"],
)
def test_what_it_does_not_cover_is_left_to_torch(query: torch.Tensor) -> None:
    assert not attention_kernel.covers(query, query, query, longest=4)


def test_of_very_long_texts_bf16_alone_is_faster_by_it(precision: Precision) -> None:
    query = torch.zeros(1, 1, 1, 32, dtype=precision.dtype)
    assert attention_kernel.covers(query, longest=2048)
    assert attention_kernel.covers(query, longest=2049) is (precision.dtype is torch.bfloat16)


@pytest.mark.parametrize("group", [1, HEADS], ids=["a head of keys each", "one for all heads"])
@pytest.mark.usefixtures("_threads")
def test_decoders_see_their_prefix_and_their_past(group: int, precision: Precision) -> None:
    torch.manual_seed(5)
    prefix = Segment(0, 40)
    documents = [Segment(40 + 33 * i, 73 + 33 * i, prefix=range(40)) for i in range(3)]
    alone = Segment(139, 146)
    packed = causal_batch([prefix, *documents, alone], torch.device("cpu"))
    query = states(146, 64, precision.dtype)
    key, value = (states(146, 64, precision.dtype)[:, : HEADS // group] for _ in range(2))
    assert attention_kernel.covers(query, key, value, longest=packed.longest)
    mixed, _ = packed_causal_attention(torch.nn.Identity(), query, key, value, None, scaling=SCALING, packed=packed)
    for segment in packed.segments:
        rows = [*segment.prefix, *range(segment.start, segment.end)]
        wanted = functional.scaled_dot_product_attention(
            query[:, :, segment.start : segment.end].double(),
            key[:, :, rows].double(),
            value[:, :, rows].double(),
            attn_mask=torch.ones(segment.queries, segment.keys, dtype=torch.bool).tril(segment.keys - segment.queries),
            scale=SCALING,
            enable_gqa=True,
        )
        found = mixed[:, segment.start : segment.end].transpose(1, 2).double()
        torch.testing.assert_close(found, wanted, atol=precision.tolerance, rtol=precision.tolerance)
