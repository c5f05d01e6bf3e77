"""A trained model on unseen questions: exact in fp32, as good a ranking in bf16, nearly so in int8 (`make accuracy`).

The model is assembled from a package of 83 MB once. On a processor without units for bf16 this takes a few minutes.
"""

from pathlib import Path

import pytest
import torch

from bench.models import default_model
from bench.precision import compared, demo_questions
from examples.finetune.dataset import Question
from reranker_worker.metrics import Metrics
from reranker_worker.scoring.preparing import prepare_model
from reranker_worker.serving import EngineSettings, LoadedModel, ScoringPair
from tests.fixtures.reference import reference_logits, reference_token_ids

QUESTIONS = demo_questions()


@pytest.fixture(scope="module")
def folder() -> Path:
    return default_model()


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    settings = EngineSettings(dtype="float32", scores="raw")
    return prepare_model(folder, "trained", settings, torch.device("cpu"), Metrics())


@pytest.mark.parametrize("question", QUESTIONS[::6], ids=lambda question: question.query)
def test_tokens_and_scores_are_transformers_own(folder: Path, model: LoadedModel, question: Question) -> None:
    pairs = model.tokenizer.encode_pairs(model.tokenizer.encode_query(question.query), question.documents)
    assert [list(pair.token_ids) for pair in pairs] == reference_token_ids(folder, question.query, question.documents)
    expected = reference_logits(folder, question.query, question.documents)
    assert model.runner.score([ScoringPair(pair) for pair in pairs]) == pytest.approx(expected, abs=1e-4)


def test_bf16_ranks_as_well_as_fp32(folder: Path) -> None:
    found = compared(folder, QUESTIONS, "bfloat16")
    assert found.questions == len(QUESTIONS)
    assert found.exact_ndcg > 0.8
    assert found.rounded_ndcg == pytest.approx(found.exact_ndcg, abs=0.002)
    assert 0 < found.max_abs_diff < 0.1


def test_int8_ranks_nearly_as_well(folder: Path) -> None:
    found = compared(folder, QUESTIONS, "int8")
    assert found.rounded_ndcg == pytest.approx(found.exact_ndcg, abs=0.02)
    assert found.kendall_tau > 0.96
    assert 0 < found.mean_abs_diff < 0.06
