"""The bodies that clients send; fields that mean nothing here are ignored. No I/O."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_Id = Annotated[str, Field(max_length=4096)]

DocumentObject = dict[str, Any]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class RerankBody(_Body):
    """`POST /rerank`, `/v1/rerank`, `/v2/rerank` of Cohere, Jina and vLLM."""

    query: Annotated[str, Field(min_length=1)]
    documents: list[str | DocumentObject]
    model: _Id | None = None
    adapter: _Id | None = None
    top_n: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    return_documents: bool = False
    rank_fields: Annotated[list[_Id], Field(max_length=32)] | None = None
    raw_scores: bool = False


class TrialBody(_Body):
    """`POST /score` of the internal port: the operator tries a revision before clients may have it."""

    revision: Annotated[str, Field(min_length=1, max_length=256)]
    query: Annotated[str, Field(min_length=1)]
    documents: list[str]
    adapter: _Id | None = None


class ScoreText(_Body):
    """A query or an item of the SIE SDK."""

    text: str
    id: _Id | None = None


class ScoreOptions(_Body):
    """The SIE SDK's options that mean something here."""

    lora_id: _Id | None = None


class ScoreBody(_Body):
    """`POST /v1/score/{model}` of the SIE SDK."""

    query: ScoreText
    items: list[ScoreText]
    options: ScoreOptions | None = None
