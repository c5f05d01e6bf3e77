"""The golden set: questions with graded answers, read from JSON lines. No I/O."""

import json
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

#: A ConfigMap holds a megabyte, so these bind only where many short documents are meant.
MAX_QUESTIONS = 2000
MAX_DOCUMENTS = 500


class GoldenSetInvalid(ValueError):
    """A golden set that can't be used; the message names the line and what would be accepted."""


class Question(BaseModel):
    """A query, its documents, and how relevant each is: 0 is irrelevant, more is better."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    query: Annotated[StrictStr, Field(min_length=1)]
    documents: Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    relevance: tuple[Annotated[StrictInt, Field(ge=0, le=100)], ...]

    @model_validator(mode="after")
    def _says_something(self) -> "Question":
        if len(self.relevance) != len(self.documents):
            raise ValueError(f"{len(self.relevance)} grades for {len(self.documents)} documents; give one for each")
        if not any(self.relevance):
            raise ValueError("no document is relevant; grade at least one above 0")
        return self


def golden_set(text: str) -> tuple[Question, ...]:
    """The questions; raises GoldenSetInvalid at the first line that isn't one."""
    questions = tuple(_questions(text))
    if not questions:
        raise GoldenSetInvalid('holds no question; give a line {"query": …, "documents": […], "relevance": […]} each')
    if len(questions) > MAX_QUESTIONS:
        raise GoldenSetInvalid(f"holds {len(questions)} questions; at most {MAX_QUESTIONS} are asked")
    return questions


def _questions(text: str) -> Iterator[Question]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield Question.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise GoldenSetInvalid(f"line {number} isn't JSON: {error}") from error
        except ValidationError as error:
            raise GoldenSetInvalid(f"line {number}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
