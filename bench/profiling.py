"""Says where the time of batches goes: before and beside the network, and by operator within it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from unittest import mock

from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as recorded

from bench.workloads import Workload, questions
from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.models import encoder, int8
from reranker_worker.scoring.model_runner import ModelRunner
from reranker_worker.serving import LoadedModel, ScoringPair

_BATCHES = 10
_OURS = (
    *((attention_kernel, "attend"), (encoder, "residual_norm")),
    *((int8, "to_int8"), (int8, "from_product"), (int8, "gelu_to_int8")),
)
"""Steps in C of our own, where they are looked up."""
_OPERATORS = 12


def profile(model: LoadedModel, workload: Workload) -> None:
    """Print both accounts of a few batches of the workload."""
    runner = model.runner
    if not isinstance(runner, ModelRunner):
        raise TypeError(f"no torch runner but {type(runner).__name__}")
    batches = list(islice(_batches(model, workload, runner.max_batch_tokens), _BATCHES))
    runner.score(batches[0])
    steps: dict[str, Callable[[list[ScoringPair]], object]] = {
        "tokenise": lambda pairs: _tokenised(model, workload, len(pairs)),
        "pack": runner.pack,
        "pack and forward": runner.score,
    }
    for name, step in steps.items():
        print(f"{name:18} {1000 * sum(_seconds(step, pairs) for pairs in batches) / _BATCHES:8.2f} ms a batch")
    with ExitStack() as stack:
        for module, name in _OURS:
            # They are none of torch's operators, so the profiler has to be told of them.
            shown = record_function(f"{module.__name__}.{name}")(getattr(module, name))
            stack.enter_context(mock.patch.object(module, name, shown))
        record = stack.enter_context(recorded(activities=[ProfilerActivity.CPU]))
        for pairs in batches:
            runner.score(pairs)
    operators = sorted(record.key_averages(), key=lambda event: event.self_cpu_time_total, reverse=True)
    total_us = sum(event.self_cpu_time_total for event in operators)
    print(f"\n{'operator':44} {'share':>6} {'calls a batch':>14}")
    for event in operators[:_OPERATORS]:
        print(f"{event.key[-44:]:44} {event.self_cpu_time_total / total_us:6.1%} {event.count / _BATCHES:14.1f}")


def _batches(model: LoadedModel, workload: Workload, max_tokens: int) -> Iterator[list[ScoringPair]]:
    batch: list[ScoringPair] = []
    tokens = 0
    for question in questions(workload):
        query_ids = model.tokenizer.encode_query(question.query)
        for pair in model.tokenizer.encode_pairs(query_ids, question.documents):
            if tokens + len(pair) > max_tokens:
                yield batch
                batch, tokens = [], 0
            batch.append(ScoringPair(pair))
            tokens += len(pair)


def _tokenised(model: LoadedModel, workload: Workload, pairs: int) -> None:
    question = next(questions(workload))
    model.tokenizer.encode_pairs(model.tokenizer.encode_query(question.query), question.documents[:pairs])


def _seconds(step: Callable[[list[ScoringPair]], object], pairs: list[ScoringPair]) -> float:
    started = time.perf_counter()
    step(pairs)
    return time.perf_counter() - started
