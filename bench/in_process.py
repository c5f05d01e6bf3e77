"""Measures this worker's engine against OpenVINO, both in process, one request of 100 documents after the other.

OpenVINO has no server of its own, so its side is a loop as its users write it: sorted by length, padded, compiled for
one batch at a time on all threads, at the best of several sizes of batch. Rounds alternate, and medians are compared.
Run it as a module: python -m bench.in_process [--size base]
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import torch

from bench.environments import interpreter
from bench.machine import fastest_dtype, machine
from bench.models import SIZES, of_size
from bench.workloads import WORKLOADS, Question, questions
from reranker_worker.metrics import Metrics
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, Limits, ScoreRequest, Serving

_REPORTS = Path("build/reports/openvino")
_BATCHES = (8, 16, 32, 64)


class OpenVino:
    """The process that scores with OpenVINO."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._commands, self._answers = commands, answers

    def round(self, batch: int) -> tuple[float, list[list[float]]]:
        """Return a round's seconds, and the logits of each question."""
        self._commands.write(json.dumps({"batch": batch}) + "\n")
        self._commands.flush()
        answer = json.loads(self._answers.readline())
        return answer["seconds"], answer["logits"]


def main() -> None:
    """Print pairs/s of both, their ratio, and how far their logits are apart."""
    options = _options()
    model = of_size(options.size)
    asked = list(islice(questions(WORKLOADS[0]), options.questions))
    pairs = sum(len(question.documents) for question in asked)
    torch.set_num_threads(options.threads)
    engine = Engine(Limits(), "cpu", Metrics())
    engine.start()
    try:
        engine.serve(Serving(engine.load_model(model, "bench", EngineSettings(dtype=options.dtype, scores="raw"))))
        with _openvino(model, asked, options) as peer:
            ours = asyncio.run(_round(engine, asked))[1]
            tried = {batch: peer.round(batch) for batch in _BATCHES for _ in range(2)}  # the second is warm
            best = min(tried, key=lambda batch: tried[batch][0])
            seconds: dict[str, list[float]] = {"reranker-worker": [], "openvino": []}
            for _ in range(options.rounds):
                seconds["reranker-worker"].append(asyncio.run(_round(engine, asked))[0])
                seconds["openvino"].append(peer.round(best)[0])
    finally:
        engine.close()
    rates = {name: pairs / statistics.median(taken) for name, taken in seconds.items()}
    print(
        f"{machine()}. {model.name}, {options.dtype}, {options.threads} threads, "
        f"{options.rounds} rounds of {pairs} pairs"
    )
    for name, rate in rates.items():
        print(f"{name:>16}: {rate:.1f} pairs/s")
    print(f"ratio {rates['reranker-worker'] / rates['openvino']:.2f}; OpenVINO's batches are of {best} documents")
    print(f"logits differ by {_largest_difference(ours, tried[best][1]):.1e} at most")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, help="of a model with random weights; without it the trained MiniLM")
    parser.add_argument("--dtype", default=fastest_dtype(), choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--questions", type=int, default=2, help="in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


@contextmanager
def _openvino(model: Path, asked: Sequence[Question], options: argparse.Namespace) -> Iterator[OpenVino]:
    python = interpreter("openvino")
    _REPORTS.mkdir(parents=True, exist_ok=True)
    file = _REPORTS / "questions.json"
    file.write_text(json.dumps([(question.query, question.documents) for question in asked]))
    flags = {"model": model, "questions": file, "dtype": options.dtype, "threads": options.threads}
    command = [str(python), "bench/peers/openvino_scorer.py", *(f"--{name}={value}" for name, value in flags.items())]
    with (
        (_REPORTS / "log").open("w") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield OpenVino(process.stdin, process.stdout)
        process.stdin.close()


async def _round(engine: Engine, asked: Sequence[Question]) -> tuple[float, list[list[float]]]:
    started = time.perf_counter()
    scored = [await engine.score(ScoreRequest(question.query, question.documents)) for question in asked]
    return time.perf_counter() - started, [list(each.scores) for each in scored]


def _largest_difference(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    pairs = zip(one, other, strict=True)
    return max(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
