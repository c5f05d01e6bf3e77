"""What all dialects have in common: the call that a request stands for and the reply that answers it. No I/O."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from reranker_worker.collecting import uncollected
from reranker_worker.errors import InvalidRequest, RequestError, RetryableRequestError, ScoringFailed
from reranker_worker.serving import CUT_AT_THE_END, ScoreResult, Truncation

JSON = "application/json"
# On a response it says what scored it; on a request it pins what must.
REVISION_HEADER = "x-reranker-revision"

_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True)
class Incoming:
    """A request's parts that a dialect may look at."""

    body: bytes
    path_model: str | None = None
    content_type: str = JSON
    accept: str = "*/*"

    @cached_property
    def content(self) -> dict[str, Any]:
        """Return the JSON object that the body is, parsed once; raises InvalidRequest."""
        return json_object(self.body)


@dataclass(frozen=True)
class Bounds:
    """How much one call may ask for."""

    max_documents: int
    max_characters: int

    def validated(self, schema: type[_Body], content: object) -> _Body:
        """Return a body's content as its schema has it; raises InvalidRequest.

        Its lists are counted first: to look at each of five million items takes seconds, in which nobody is answered.
        """
        if isinstance(content, dict):
            for param in schema.model_fields:
                self._require_short(param, content.get(param))
        try:
            return schema.model_validate(content)
        except ValidationError as error:
            raise _invalid(error) from error

    def check(
        self, queries: Sequence[str], documents: Sequence[str], *, param: str, instruction: str | None = None
    ) -> None:
        """Raise InvalidRequest where a call is empty or too large; an instruction is read with each query."""
        if not documents:
            raise InvalidRequest(f"{param} is empty; at least one is needed", param=param)
        characters = sum(map(len, queries)) + len(queries) * len(instruction or "") + sum(map(len, documents))
        if characters > self.max_characters:
            texts = f"query, instruction and {param}" if instruction else f"query and {param}"
            message = f"{texts} hold {characters} characters; at most {self.max_characters} are allowed"
            raise InvalidRequest(message, param=param)

    def _require_short(self, param: str, member: object) -> None:
        if isinstance(member, list) and len(member) > self.max_documents:
            message = f"{param} holds {len(member)} entries; at most {self.max_documents} are allowed"
            raise InvalidRequest(message, param=param)


@dataclass(frozen=True)
class ScoreCall:
    """One query against documents, as any dialect asks for it.

    paired_queries: one for each document, where each has its own; `query` is then the first of them.
    plain_documents: documents come back as texts, not as objects.
    """

    query: str
    documents: Sequence[str]
    paired_queries: Sequence[str] = ()
    model: str | None = None
    adapter: str | None = None
    top_n: int | None = None
    return_documents: bool = False
    plain_documents: bool = False
    raw_scores: bool = False
    instruction: str | None = None
    truncation: Truncation = CUT_AT_THE_END
    item_ids: Sequence[str | None] = ()
    query_id: str | None = None
    accept: str = JSON


@dataclass(frozen=True)
class Ranked:
    """A document's place in the answer."""

    index: int
    score: float


@dataclass(frozen=True)
class Scored:
    """A call's scores, ranked, under the name that the client knows the model by."""

    model: str
    ranking: Sequence[Ranked]
    result: ScoreResult
    total_ms: float


@dataclass(frozen=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """One family of clients: how they ask, and how they are answered; `api` labels its metrics."""

    api: str
    parse: Callable[[Incoming, Bounds], ScoreCall]
    render: Callable[[ScoreCall, Scored], Reply]
    render_error: Callable[[RequestError, str], Reply]


def ranked(scores: Sequence[float], top_n: int | None) -> list[Ranked]:
    """Rank scores, descending, ties by index; raises ScoringFailed rather than ranking a NaN."""
    if not all(map(math.isfinite, scores)):
        raise ScoringFailed("a score isn't a finite number")
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    return [Ranked(index, scores[index]) for index in order[:top_n]]


def json_reply(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON response."""
    return Reply(status, orjson.dumps(content), headers=headers or {})


def revision_headers(result: ScoreResult) -> dict[str, str]:
    """Return the headers that say what scored a response."""
    headers = {REVISION_HEADER: result.revision}
    if result.adapter_revision is not None:
        headers["x-reranker-adapter"] = result.adapter_revision
    return headers


def retry_headers(error: RequestError) -> dict[str, str]:
    """Return Retry-After for what may succeed later, in whole seconds as HTTP wants it."""
    if isinstance(error, RetryableRequestError):
        return {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
    return {}


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is; raises InvalidRequest, without repeating any of it."""
    try:
        with uncollected():
            content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"body: not JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(content, dict):
        raise InvalidRequest("body: must be an object")
    return content


def _invalid(error: ValidationError) -> InvalidRequest:
    """Return the refusal for a body that doesn't fit the schema; it names the field and never repeats its value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = ".".join(str(step) for step in first["loc"])
    message = f"{param}: {first['msg']}" if param else f"body: {first['msg']}"
    return InvalidRequest(message, param=param or None)
