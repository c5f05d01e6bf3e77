"""The three workloads, of real text: Debian's package descriptions, asked for by their one-line ones.

| | clients | documents a request | tokens of a pair |
|---|---|---|---|
| W1 | 1 | 100 | mean 90 |
| W2 | 16 | 100 | as W1 |
| W3 | 4 | 100 | mixed: mean 150, the longest tenth 360 and more |
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from tokenizers import Tokenizer

_TEXTS = Path("examples/debian-search/queries.json")
# In W3 every fifth document is so many descriptions in one, but never longer than about 480 tokens.
_JOINED_EVERY = 5
_JOINED = 5
_LONGEST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Workload:
    """How many clients ask at once, each waiting for its answer, and how much."""

    name: str
    clients: int
    requests: int
    """Of each client in a round: a round of few requests would tell of noise."""
    documents: int = 100
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks."""

    query: str
    documents: tuple[str, ...]


WORKLOADS = (
    Workload("W1", clients=1, requests=12),
    Workload("W2", clients=16, requests=2),
    Workload("W3", clients=4, requests=3, mixed=True),
)


def questions(workload: Workload) -> Iterator[Question]:
    """Yield requests for ever, the same for the same workload: each query's candidates first, then others' in turn."""
    content = json.loads(_TEXTS.read_text())
    texts = {name: package["long"] for name, package in content["packages"].items()}
    everything = list(texts.values())
    for turn in count():
        asked = content["queries"][turn % len(content["queries"])]
        others = (everything[(turn * 37 + i) % len(everything)] for i in count())
        pool = [texts[name] for name in asked["candidates"]]
        pool += [next(others) for _ in range(workload.documents * (_JOINED if workload.mixed else 1))]
        yield Question(asked["query"], _documents(pool, workload))


def token_lengths(model: Path, workload: Workload) -> list[int]:
    """Return the tokens of the pairs of the workload's first requests, at most 512 each."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512, strategy="only_second")
    first = list(islice(questions(workload), 10))
    pairs = [(question.query, document) for question in first for document in question.documents]
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(pairs)]


def _documents(pool: list[str], workload: Workload) -> tuple[str, ...]:
    if not workload.mixed:
        return tuple(pool[: workload.documents])
    documents, texts = [], iter(pool)
    for i in range(workload.documents):
        parts = _JOINED if i % _JOINED_EVERY == 0 else 1
        documents.append(" ".join(next(texts) for _ in range(parts))[:_LONGEST_CHARACTERS])
    return tuple(documents)
