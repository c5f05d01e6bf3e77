"""Measures of a ranking: nDCG@k, Kendall's tau-b, a percentile. No I/O.

Both rank measures count ties honestly: a model that gives every document the same score earns no credit from the order
in which the golden set happens to list them.
"""

import math
from collections.abc import Sequence
from itertools import combinations, groupby


def ndcg_at_k(relevance: Sequence[int], scores: Sequence[float], k: int) -> float:
    """Normalised discounted cumulative gain of the first `k` ranks, from 0 to 1.

    Linear gain `relevance / log2(rank + 1)`, as trec_eval, BEIR and scikit-learn have it. Documents with equal scores
    share the gain of their ranks in the mean (McSherry and Najork, 2008).
    """
    ideal = _dcg(sorted((float(grade) for grade in relevance), reverse=True), k)
    return _dcg(_tie_averaged(relevance, scores), k) / ideal if ideal else 0.0


def _tie_averaged(relevance: Sequence[int], scores: Sequence[float]) -> list[float]:
    """Gains in the order of the scores, each the mean of its group of equal scores."""
    ranked = sorted(zip(scores, relevance, strict=True), key=lambda pair: -pair[0])
    gains: list[float] = []
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        grades = [grade for _, grade in group]
        gains += [sum(grades) / len(grades)] * len(grades)
    return gains


def _dcg(gains: Sequence[float], k: int) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))


def tau_b(reference: Sequence[float], scores: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same documents, from -1 to 1.

    None where the reference tells no two documents apart, so that there is no order to keep; 0 where only `scores`
    doesn't.
    """
    agreement = reference_pairs = score_pairs = 0
    for (r1, s1), (r2, s2) in combinations(zip(reference, scores, strict=True), 2):
        r, s = _sign(r1 - r2), _sign(s1 - s2)
        agreement += r * s
        reference_pairs += abs(r)
        score_pairs += abs(s)
    if not reference_pairs:
        return None
    return agreement / math.sqrt(reference_pairs * score_pairs) if score_pairs else 0.0


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of all values don't exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
