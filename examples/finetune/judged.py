"""One's own judged pairs: a line of JSON for each query, its documents, and how relevant each is. No I/O but `read`.

The format is that of a golden set, so what is held out of training can be a RerankerModel's gate.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from examples.finetune.dataset import NEGATIVES, Question


@dataclass(frozen=True)
class Judged:
    """A query, its documents, and the grade of each: 0 is irrelevant, more is better."""

    query: str
    documents: tuple[str, ...]
    relevance: tuple[int, ...]


def read(path: Path) -> list[Judged]:
    """Read a file; raises ValueError with the line that can't be used."""
    lines = path.read_text().split("\n")
    return [parsed(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def parsed(line: str, where: str) -> Judged:
    """Return a line's judgement; raises ValueError that says what is missing."""
    try:
        row = json.loads(line)
        judged = Judged(row["query"], tuple(row["documents"]), tuple(int(grade) for grade in row["relevance"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{where}: want {{"query": "…", "documents": ["…"], "relevance": [0]}}: {error!r}') from error
    if len(judged.documents) != len(judged.relevance):
        raise ValueError(f"{where}: {len(judged.relevance)} grades for {len(judged.documents)} documents")
    return judged


def split(judged: Iterable[Judged], share: float) -> tuple[list[Judged], list[Judged]]:
    """Return what to train on and what is held out, by a hash of the query: the same for everyone, at every run."""
    parts: tuple[list[Judged], list[Judged]] = ([], [])
    for each in judged:
        place = int.from_bytes(hashlib.sha256(each.query.encode()).digest()[:4]) / 2**32
        parts[place < share].append(each)
    return parts


def groups(judged: Iterable[Judged]) -> list[Question]:
    """Return a group for each relevant document: itself first, then documents of a lower grade, the highest first.

    All groups have as many documents, so a few wrong ones come more than once.
    """
    found = []
    for each in judged:
        graded = sorted(zip(each.relevance, each.documents, strict=True), key=lambda pair: -pair[0])
        for grade, document in graded:
            lower = [other for other_grade, other in graded if other_grade < grade]
            if grade > 0 and lower:
                found.append(Question(each.query, (document, *islice(cycle(lower), NEGATIVES)), 0))
    return found


def golden(judged: Sequence[Judged]) -> str:
    """Return the lines of a golden set; what has no relevant document can't be asked."""
    asked = [each for each in judged if any(each.relevance)]
    return "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in asked)
