"""Measures attention on this CPU: torch's, a call a pair, and the kernel of our own, in turns of one process.

A batch of real pairs at the MiniLM's shape, then single longer texts at that of bge-reranker-v2-m3. What the kernel
isn't used for (fp32 beyond 2,048 keys) is measured all the same. Run it as a module: python -m bench.attention
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch

from bench.machine import machine
from bench.models import default_model
from bench.workloads import WORKLOADS, token_lengths
from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.models.attention import PackedBatch, attention_by_torch

_BATCH_TOKENS = 2048
_MINILM = (12, 32)
_LARGE = (16, 64)
"""Heads, and the width of each."""
_LONGER = (512, 1024, 2048, 4096, 8192)


def main() -> None:
    """Print medians in milliseconds, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=80, help="of a batch of pairs; a tenth of them of longer texts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine()}. {options.threads} threads")
    pairs = _filling(token_lengths(default_model(), WORKLOADS[0]))
    cases = [(pairs, _MINILM, options.rounds), *(((tokens,), _LARGE, options.rounds // 10) for tokens in _LONGER)]
    for dtype in (torch.float32, torch.bfloat16):
        for lengths, shape, rounds in cases:
            _compare(lengths, shape, dtype, rounds)


def _filling(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths of the first pairs that a batch has room for."""
    return tuple(length for length, sum_ in zip(lengths, accumulate(lengths), strict=True) if sum_ <= _BATCH_TOKENS)


def _compare(lengths: Sequence[int], shape: tuple[int, int], dtype: torch.dtype, rounds: int) -> None:
    heads, width = shape
    edges = torch.tensor([0, *accumulate(lengths)])
    tokens = int(edges[-1])
    row, cumulative = torch.zeros(1, tokens, dtype=torch.int64), edges.to(torch.int32)
    packed = PackedBatch(row, row, row, edges[:-1], cumulative, edges.tolist())
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, tokens, heads * width).to(dtype).view(1, tokens, heads, width).transpose(1, 2) for _ in range(3)
    )
    name = f"{len(lengths)} x {min(lengths)}-{max(lengths)} tokens, {heads} x {width}, {dtype}".replace("torch.", "")
    if not attention_kernel.covers(query, key, value, longest=1):
        print(f"{name}: the kernel doesn't cover it on this processor")
        return
    sides: dict[str, Callable[[], torch.Tensor]] = {
        "torch": lambda: attention_by_torch(query, key, value, packed, scaling=width**-0.5),
        "kernel": lambda: attention_kernel.attend(
            query, key, value, cumulative, cumulative, longest=packed.longest, scaling=width**-0.5
        ),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    with torch.inference_mode():
        for _ in range(rounds):
            for side, attend in sides.items():
                started = time.perf_counter()
                attend()
                seconds[side].append(time.perf_counter() - started)
    medians = {side: 1000 * statistics.median(taken) for side, taken in seconds.items()}
    ratio = medians["torch"] / medians["kernel"]
    print(f"{name}: torch {medians['torch']:.1f} ms, kernel {medians['kernel']:.1f} ms, {ratio:.2f} x")


if __name__ == "__main__":
    main()
