"""The gate's measures against the libraries that everyone checks against, and where those say nothing."""

import math
import random

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import ndcg_score

from reranker_operator.decisions.ranking import ndcg_at_k, percentile, tau_b


def rankings(documents: int, *, ties: bool) -> tuple[list[int], list[float], list[float]]:
    """Grades with at least one relevant document, and scores of two models."""
    rng = random.Random(documents + ties)
    grades = [rng.randrange(4) for _ in range(documents)]
    grades[rng.randrange(documents)] = 3
    first = [rng.random() for _ in range(documents)]
    second = [score + rng.gauss(0, 0.4) for score in first]
    if ties:
        first, second = ([round(score, 1) for score in scores] for scores in (first, second))
    return grades, first, second


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("k", [1, 3, 10, 1000])
@pytest.mark.parametrize("documents", [2, 3, 10, 57, 200])
def test_ndcg_is_that_of_scikit_learn(documents: int, k: int, ties: bool) -> None:
    grades, scores, _ = rankings(documents, ties=ties)
    expected = ndcg_score(np.array([grades]), np.array([scores]), k=k)
    assert ndcg_at_k(grades, scores, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("documents", [2, 3, 10, 57, 200])
def test_rank_correlation_is_that_of_scipy(documents: int, ties: bool) -> None:
    _, first, second = rankings(documents, ties=ties)
    if len(set(first)) == 1 or len(set(second)) == 1:
        pytest.skip("scipy says nan")
    found = tau_b(first, second)
    assert found == pytest.approx(kendalltau(first, second, variant="b").statistic, abs=1e-12)


def test_a_model_that_tells_no_documents_apart_gets_no_credit_from_their_order() -> None:
    assert ndcg_at_k([1, 0, 0, 0], [0.5] * 4, 1) == 0.25
    assert tau_b([4, 3, 2, 1], [0.5] * 4) == 0.0


def test_a_reference_that_tells_no_documents_apart_has_no_order_to_keep() -> None:
    assert tau_b([0.5] * 4, [4, 3, 2, 1]) is None
    assert tau_b([0.5], [0.5]) is None


def test_nothing_relevant_is_no_gain() -> None:
    assert ndcg_at_k([0, 0], [1.0, 2.0], 10) == 0.0


PERCENTILES = {"of one": ([7.0], 7.0), "of twenty": ([float(n) for n in range(1, 21)], 19.0), "unsorted": ([3, 1], 3)}


@pytest.mark.parametrize(("values", "expected"), PERCENTILES.values(), ids=PERCENTILES.keys())
def test_the_95th_percentile(values: list[float], expected: float) -> None:
    assert percentile(values, 0.95) == expected
    assert sum(value <= expected for value in values) >= math.ceil(0.95 * len(values))
