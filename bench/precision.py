"""Says what bf16 or int8 costs in ranking quality: nDCG@10 of the trained model on held-out questions, against fp32.

Where the processor has no units for it, it is emulated: slow, with the same roundings of what is stored. Run it as a
module: python -m bench.precision [--dtype int8] [--held-out build/finetune/test.jsonl --queries 200]
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from scipy.stats import kendalltau

from bench.models import default_model
from examples.finetune.dataset import Question, read
from examples.finetune.quality import ndcg, rank_of
from reranker_worker.metrics import Metrics
from reranker_worker.scoring.preparing import prepare_model
from reranker_worker.serving import DType, EngineSettings, ScoringPair

_DEMO_QUESTIONS = Path("examples/debian-search/queries.json")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same questions in both precisions."""

    questions: int
    exact_ndcg: float
    rounded_ndcg: float
    max_abs_diff: float
    mean_abs_diff: float
    """Of two logits."""
    kendall_tau: float
    """Of a question's two orders, in the mean."""


def main() -> None:
    """Print what the precision changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a folder; by default the trained MiniLM")
    parser.add_argument("--dtype", choices=["bfloat16", "int8"], default="bfloat16")
    parser.add_argument("--held-out", type=Path, help="questions of examples.finetune.dataset; else the demo's 36")
    parser.add_argument("--queries", type=int, default=200, help="at most this many")
    options = parser.parse_args()
    questions = demo_questions() if options.held_out is None else read(options.held_out)[: options.queries]
    found = compared(options.model or default_model(), questions, options.dtype)
    print(
        f"{found.questions} questions: "
        f"nDCG@10 {found.exact_ndcg:.4f} in fp32, {found.rounded_ndcg:.4f} in {options.dtype}; "
        f"logits differ by {found.max_abs_diff:.3f} at most, by {found.mean_abs_diff:.3f} in the mean; "
        f"Kendall's tau {found.kendall_tau:.3f}"
    )


def demo_questions() -> list[Question]:
    """Return the demo's held-out questions with BM25's candidates."""
    content = json.loads(_DEMO_QUESTIONS.read_text())
    texts = {name: package["long"] for name, package in content["packages"].items()}
    return [
        Question(
            asked["query"],
            tuple(texts[name] for name in asked["candidates"]),
            asked["candidates"].index(asked["relevant"]),
        )
        for asked in content["queries"]
    ]


def compared(folder: Path, questions: Sequence[Question], dtype: DType) -> Comparison:
    """Score the questions that have a right answer in both precisions."""
    answerable = [question for question in questions if question.relevant >= 0]
    exact, rounded = _logits(folder, "float32", answerable), _logits(folder, dtype, answerable)
    differences = [abs(a - b) for pair in zip(exact, rounded, strict=True) for a, b in zip(*pair, strict=True)]
    return Comparison(
        questions=len(answerable),
        exact_ndcg=_ndcg(answerable, exact),
        rounded_ndcg=_ndcg(answerable, rounded),
        max_abs_diff=max(differences),
        mean_abs_diff=fmean(differences),
        kendall_tau=fmean(float(kendalltau(*pair).statistic) for pair in zip(exact, rounded, strict=True)),
    )


def _ndcg(questions: Sequence[Question], logits: Sequence[Sequence[float]]) -> float:
    return ndcg([rank_of(scores, question.relevant) for question, scores in zip(questions, logits, strict=True)])


def _logits(folder: Path, dtype: DType, questions: Sequence[Question]) -> list[list[float]]:
    """Return each question's documents' logits, as the worker's runner computes them."""
    settings = EngineSettings(dtype=dtype, scores="raw")
    model = prepare_model(folder, dtype, settings, torch.device("cpu"), Metrics())
    scored: list[list[float]] = []
    for question in questions:
        pairs = model.tokenizer.encode_pairs(model.tokenizer.encode_query(question.query), question.documents)
        outcomes = model.runner.score([ScoringPair(pair) for pair in pairs])
        logits = [outcome for outcome in outcomes if isinstance(outcome, float)]
        if len(logits) < len(outcomes):
            raise ValueError(f"{question.query!r} has a document without a finite score in {dtype}")
        scored.append(logits)
    return scored


if __name__ == "__main__":
    main()
