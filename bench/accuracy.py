"""How far a system's scores are from the model's own: transformers' modules, one pair at a time, in float32."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import httpx
import torch
from scipy.stats import kendalltau
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bench.servers import Server
from bench.systems import HEADERS
from bench.workloads import Question


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest difference of two logits, and the mean rank correlation of the questions' orders (tau-b)."""

    max_abs_diff: float
    kendall_tau: float


def reference_logits(model: Path, asked: Sequence[Question]) -> list[list[float]]:
    """Return each question's logits."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32).eval()
    found: list[list[float]] = []
    with torch.inference_mode():
        for question in asked:
            pairs = [
                tokenizer([question.query], [text], truncation="only_second", max_length=512, return_tensors="pt")
                for text in question.documents
            ]
            found.append([network(**pair).logits.item() for pair in pairs])
    return found


def deviation(server: Server, asked: Sequence[Question], expected: Sequence[Sequence[float]]) -> Deviation:
    """Ask a server the same questions, and compare."""
    largest, correlations = 0.0, []
    for question, logits in zip(asked, expected, strict=True):
        answer = httpx.post(server.url, json=server.system.dialect.body(question), headers=HEADERS, timeout=600)
        answer.raise_for_status()
        scored = server.system.logits(answer.json())
        largest = max(largest, *(abs(one - other) for one, other in zip(scored, logits, strict=True)))
        correlations.append(float(kendalltau(scored, logits).statistic))
    return Deviation(largest, fmean(correlations))
