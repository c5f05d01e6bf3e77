"""Measures the engine in process, without HTTP, against what the processor could do; `make bench-engine`.

Run it as a module: python -m bench.engine [MODEL_FOLDER | --size base] [--profile]
"""

import argparse
import asyncio
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.limit import Dimensions, GemmPeak, limit_fraction
from bench.models import SIZES, of_size
from bench.profiling import profile
from bench.workloads import WORKLOADS, Question, Workload, questions, token_lengths
from reranker_worker import device
from reranker_worker.device import cpu_flags, on_passing_thread
from reranker_worker.metrics import Metrics
from reranker_worker.models import int8, loading
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import DType, EngineSettings, Limits, ScoreRequest, Serving


@dataclass(frozen=True, slots=True)
class Window:
    """What the device thread did while a workload ran."""

    seconds: float
    busy_s: float
    pairs: int
    tokens: int
    latencies_s: tuple[float, ...]

    @property
    def idle_share(self) -> float:
        """Return the share of the time in which the device thread ran no batch."""
        return max(0.0, 1 - self.busy_s / self.seconds)


def main() -> None:
    """Print a line for each workload, or a profile."""
    options = _options()
    options.model = options.model or of_size(options.size)
    if options.without_bf16:
        _hide_bf16_units()
    dtype: DType = options.dtype
    metrics = Metrics()
    engine = Engine(Limits(max_queue_tokens=2_000_000), "cpu", metrics)
    torch.set_num_threads(options.threads)
    engine.start()
    try:
        model = engine.load_model(options.model, "bench", EngineSettings(dtype=dtype, scores="raw"))
        engine.serve(Serving(model))
        peak = on_passing_thread(lambda: GemmPeak(Dimensions.of(options.model), getattr(torch, model.dtype)))
        print(f"{options.model.name}, {model.dtype}, {options.threads} threads")
        if options.profile:
            on_passing_thread(lambda: profile(model, WORKLOADS[0]))
            return
        asyncio.run(_measure(engine, metrics, peak, options))
    finally:
        engine.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--size", choices=SIZES, help="measure a model of this size with random weights")
    parser.add_argument("--profile", action="store_true", help="say where a batch's time goes")
    parser.add_argument("--seconds", type=float, default=20, help="for each workload and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=100, help="in each request")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "int8"])
    parser.add_argument(
        "--without-bf16",
        action="store_true",
        help="as if there were no units for bf16; ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI hides them from oneDNN",
    )
    return parser.parse_args()


def _hide_bf16_units() -> None:
    flags = cpu_flags() - {"avx512_bf16", "amx_bf16"}
    for module in (device, int8, loading):
        vars(module)["cpu_flags"] = lambda: flags


async def _measure(engine: Engine, metrics: Metrics, peak: GemmPeak, options: argparse.Namespace) -> None:
    dimensions = Dimensions.of(options.model)
    on_passing_thread(peak.measure)
    workloads = [replace(workload, documents=options.documents) for workload in WORKLOADS]
    windows: dict[str, list[Window]] = {workload.name: [] for workload in workloads}
    for _ in range(options.rounds):
        for workload in workloads:
            windows[workload.name].append(await _window(engine, metrics, workload, options.seconds))
            on_passing_thread(peak.measure)
    print(f"GEMM peak {peak.flop_per_s / 1e9:.0f} GFLOP/s; peak memory {_peak_mb()} MB")
    print(f"{'':4} {'pairs/s':>8} {'p50 ms':>8} {'p95 ms':>8} {'idle':>7} {'of the limit':>13}")
    for workload in workloads:
        found = windows[workload.name]
        rate = statistics.median(window.pairs / window.seconds for window in found)
        latencies = sorted(1000 * latency for window in found for latency in window.latencies_s)
        idle = statistics.median(window.idle_share for window in found)
        fraction = limit_fraction(rate, token_lengths(options.model, workload), dimensions, peak)
        print(
            f"{workload.name:4} {rate:8.1f} {latencies[len(latencies) // 2]:8.0f} "
            f"{latencies[int(0.95 * len(latencies))]:8.0f} {idle:7.1%} {fraction:13.0%}"
        )


async def _window(engine: Engine, metrics: Metrics, workload: Workload, seconds: float) -> Window:
    """Let the workload's clients ask for so long, and count what happens from the end of the first batch on."""
    asked, latencies = questions(workload), list[float]()
    origin = _counted(metrics)
    clients = [asyncio.create_task(_client(engine, asked, latencies)) for _ in range(workload.clients)]
    while _counted(metrics) == origin:  # noqa: ASYNC110 - the engine tells nobody of a batch
        await asyncio.sleep(0.001)
    before, started = _counted(metrics), time.perf_counter()
    # Not until all clients' requests are done: the queue would run empty at the end, which no long run does.
    while time.perf_counter() - started < seconds or not latencies:  # noqa: ASYNC110 - a measurement's duration
        await asyncio.sleep(0.05)
    elapsed, after = time.perf_counter() - started, _counted(metrics)
    answered = tuple(latencies)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    busy_s, pairs, tokens = (end - start for start, end in zip(before, after, strict=True))
    return Window(elapsed, busy_s, int(pairs), int(tokens), answered)


async def _client(engine: Engine, asked: Iterator[Question], latencies: list[float]) -> None:
    while True:
        question = next(asked)
        started = time.perf_counter()
        await engine.score(ScoreRequest(question.query, question.documents))
        latencies.append(time.perf_counter() - started)


def _counted(metrics: Metrics) -> tuple[float, float, float]:
    """Return the seconds in batches, the pairs and the tokens so far."""
    names = ("reranker_batch_duration_seconds_sum", "reranker_batch_pairs_sum", "reranker_batch_tokens_sum")
    seconds, pairs, tokens = (metrics.registry.get_sample_value(name) or 0.0 for name in names)
    return seconds, pairs, tokens


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
