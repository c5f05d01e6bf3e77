"""BM25 (Robertson's Okapi form) over an inverted index in numpy: the first stage that a reranker improves on."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

WORD = re.compile(r"[a-z0-9+#]+")
K1 = 1.5
B = 0.75


def words(text: str) -> list[str]:
    """Split a text into lower-case words; `c++` and `c#` stay whole."""
    return WORD.findall(text.lower())


class Bm25:
    """An index over documents. Immutable after construction."""

    def __init__(self, documents: Sequence[str]) -> None:
        postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = np.zeros(len(documents), np.float64)
        for number, document in enumerate(documents):
            counts = Counter(words(document))
            lengths[number] = counts.total()
            for word, count in counts.items():
                postings[word].append((number, count))
        norm = K1 * (1 - B + B * lengths / lengths.mean())
        self._size = len(documents)
        self._postings = {word: _weighted(entries, self._size, norm) for word, entries in postings.items()}

    def scores(self, query: str) -> npt.NDArray[np.float64]:
        """Score every document for a query: float64 [documents]."""
        scores = np.zeros(self._size)
        for word in words(query):
            if word in self._postings:
                numbers, weights = self._postings[word]
                scores[numbers] += weights
        return scores

    def top(self, query: str, count: int) -> list[tuple[int, float]]:
        """Return the best documents as (number, score), best first, ties by number; never one that shares no word."""
        scores = self.scores(query)
        order = np.argsort(-scores, kind="stable")[:count]
        return [(int(number), float(scores[number])) for number in order if scores[number] > 0]


def _weighted(
    entries: list[tuple[int, int]], size: int, norm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the documents that hold a word and what it adds to the score of each."""
    numbers = np.array([number for number, _ in entries], np.int64)
    counts = np.array([count for _, count in entries], np.float64)
    idf = np.log(1 + (size - len(entries) + 0.5) / (len(entries) + 0.5))
    return numbers, idf * counts * (K1 + 1) / (counts + norm[numbers])
