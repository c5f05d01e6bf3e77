"""The corpus and the questions of examples/debian-search, as plain data, and how good an order of it is."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

QUERIES = Path(__file__).parents[1] / "debian-search" / "queries.json"
CUTOFF = 10


@dataclass(frozen=True)
class Corpus:
    """Packages by name with their long descriptions, and questions with the name of the package that answers."""

    names: Sequence[str]
    texts: Sequence[str]
    questions: Sequence[tuple[str, str]]


def read(path: Path = QUERIES) -> Corpus:
    """Read the file of questions; its candidates, all together, are the corpus."""
    content = json.loads(path.read_text())
    packages = content["packages"]
    return Corpus(
        names=list(packages),
        texts=[package["long"] for package in packages.values()],
        questions=[(row["query"], row["relevant"]) for row in content["queries"]],
    )


def sharing_most_words(corpus: Corpus, query: str, count: int = 20) -> list[tuple[str, str]]:
    """Return name and text of the documents that share most words with a query: the simplest of first stages."""
    words = set(query.split())
    documents = list(zip(corpus.names, corpus.texts, strict=True))
    return sorted(documents, key=lambda document: -len(words & set(document[1].split())))[:count]


def ndcg(rankings: Sequence[Sequence[str]], relevant: Sequence[str]) -> float:
    """Return nDCG at the cut-off where each question has one right answer."""
    return fmean(_gain(ranking[:CUTOFF], name) for ranking, name in zip(rankings, relevant, strict=True))


def _gain(ranking: Sequence[str], relevant: str) -> float:
    return 1 / math.log2(ranking.index(relevant) + 2) if relevant in ranking else 0.0
