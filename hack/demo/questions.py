"""The demo's real questions: their requests, the ranking as people read it, and its quality. No I/O."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

CUTOFF = 10
SHOWN = 6
NAME_WIDTH = 30
LOAD_DOCUMENTS = 5
LOAD_CHARACTERS = 160


@dataclass(frozen=True)
class Candidate:
    """A package that the first stage found."""

    name: str
    short: str
    long: str


@dataclass(frozen=True)
class Question:
    """A query with its candidates in the first stage's order, and the name of the right one."""

    query: str
    section: str
    relevant: str
    candidates: tuple[Candidate, ...]

    @property
    def body(self) -> dict[str, Any]:
        """Return the request that ranks the candidates."""
        return {"query": self.query, "documents": [candidate.long for candidate in self.candidates]}

    @property
    def place(self) -> int:
        """Return the right answer's place in the first stage's order, from 1."""
        return [candidate.name for candidate in self.candidates].index(self.relevant) + 1


def parse(text: str) -> list[Question]:
    """Read the questions of a queries.json."""
    content = json.loads(text)
    packages = {name: Candidate(name, **texts) for name, texts in content["packages"].items()}
    return [
        Question(row["query"], row["section"], row["relevant"], tuple(packages[name] for name in row["candidates"]))
        for row in content["queries"]
    ]


def ranked(question: Question, answer: dict[str, Any]) -> list[tuple[Candidate, float]]:
    """Return the candidates with their scores in the order of an answer."""
    return [(question.candidates[result["index"]], result["relevance_score"]) for result in answer["results"]]


def reciprocal_rank(names: Sequence[str], relevant: str) -> float:
    """Return 1 / the place of the relevant name, 0 beyond the cut-off."""
    head = list(names[:CUTOFF])
    return 1 / (head.index(relevant) + 1) if relevant in head else 0.0


def quality(questions: Sequence[Question], answers: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return MRR@10 of the first stage's order and of the answers' order."""
    before = [reciprocal_rank([c.name for c in question.candidates], question.relevant) for question in questions]
    after = [
        reciprocal_rank([candidate.name for candidate, _ in ranked(question, answer)], question.relevant)
        for question, answer in zip(questions, answers, strict=True)
    ]
    return fmean(before), fmean(after)


def rendering(question: Question, answer: dict[str, Any]) -> str:
    """Return the first places before and after, side by side, with where each came from and which one is right."""
    before = [candidate.name for candidate in question.candidates]
    lines = [
        f"  query: {question.query}",
        f"  {len(before)} candidates, > marks the package that the query describes",
        "",
        f"  {'before: BM25':{NAME_WIDTH + 6}}  after: reranked",
    ]
    for place, (candidate, score) in enumerate(ranked(question, answer)[:SHOWN]):
        left = f"{_mark(before[place], question)} {place + 1:2}  {_fitted(before[place], NAME_WIDTH)}"
        was = f"was {before.index(candidate.name) + 1}"
        right = f"{_mark(candidate.name, question)} {place + 1:2}  {score:.3f}  {_fitted(candidate.name, NAME_WIDTH)}"
        lines.append(f"  {left:{NAME_WIDTH + 6}}  {right:{NAME_WIDTH + 13}}  {was}".rstrip())
    best = ranked(question, answer)[0][0]
    return "\n".join([*lines, "", f"  first now: {best.name}: {best.short}"])


def _mark(name: str, question: Question) -> str:
    return ">" if name == question.relevant else " "


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def load_bodies(questions: Sequence[Question]) -> str:
    """Return the load's requests as JSON lines: few and short documents, so that a laptop's CPU bears the rate."""
    bodies = (
        {
            "query": question.query,
            "documents": [candidate.long[:LOAD_CHARACTERS] for candidate in question.candidates[:LOAD_DOCUMENTS]],
        }
        for question in questions
    )
    return "".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies)
