"""The bodies that clients send; fields that mean nothing here are ignored. No I/O."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

_T = TypeVar("_T")

_Id = Annotated[str, Field(max_length=4096)]

_Tokens = Annotated[int, Field(ge=1, le=1_000_000)]

# vLLM's -1 is the model's own length.
_PairTokens = Annotated[int, Field(ge=-1, le=1_000_000)]

# vLLM's 0, which is its default, is all of them.
_TopN = Annotated[int, Field(ge=0, le=1_000_000)]

# Some clients send null for what they weren't told.
_Flag = bool | None

# Of a million wrong items the first one is told: an error for each would take gigabytes.
_List = Annotated[list[_T], Field(fail_fast=True)]

DocumentObject = dict[str, Any]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class RerankBody(_Body):
    """`POST /rerank`, `/v1/rerank`, `/v2/rerank` of Cohere, Jina and vLLM."""

    query: Annotated[str, Field(min_length=1)]
    documents: _List[str | DocumentObject]
    model: _Id | None = None
    adapter: _Id | None = None
    top_n: _TopN | None = None
    return_documents: _Flag = False
    rank_fields: Annotated[_List[_Id], Field(max_length=32)] | None = None
    max_tokens_per_doc: _Tokens | None = None
    truncate_prompt_tokens: _PairTokens | None = None
    instruction: str | None = None
    raw_scores: _Flag = False
    use_activation: bool | None = None  # vLLM's word for the opposite of raw scores

    @property
    def raw(self) -> bool:
        """Return whether the model's own scores are wanted."""
        return bool(self.raw_scores) or self.use_activation is False


class VoyageBody(_Body):
    """`POST /v1/rerank` of Voyage AI."""

    query: Annotated[str, Field(min_length=1)]
    documents: _List[str]
    model: _Id | None = None
    adapter: _Id | None = None
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    return_documents: _Flag = False
    truncation: bool | None = None  # false alone refuses
    instruction: str | None = None
    raw_scores: _Flag = False


class TeiBody(_Body):
    """`POST /rerank` of Text Embeddings Inference; `top_n` is Elasticsearch's addition."""

    query: Annotated[str, Field(min_length=1)]
    texts: _List[str]
    model: _Id | None = None
    adapter: _Id | None = None
    top_n: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    return_text: _Flag = False
    raw_scores: _Flag = False
    truncate: bool | None = None  # false alone refuses: many clients leave it out and mean to be answered
    truncation_direction: Literal["Left", "Right", "left", "right"] | None = None
    instruction: str | None = None


class WeaviateBody(_Body):
    """`POST /rerank` of Weaviate's reranker-transformers module; its `property` means nothing to a model."""

    query: Annotated[str, Field(min_length=1)]
    documents: _List[str]


class TextPart(_Body):
    """A part of a text, as vLLM's multi-modal models have it beside images, which mean nothing here."""

    type: Literal["text"]
    text: str


class TextParts(_Body):
    """One text in parts."""

    content: Annotated[_List[TextPart], Field(min_length=1, max_length=64)]


def _kind(value: object) -> str:
    match value:
        case dict() | TextParts():
            return "parts"
        case list():
            return "texts"
        case _:
            return "text"


# Told apart before they are looked at, so that a refusal is of what was meant.
_Text = Annotated[Annotated[str, Tag("text")] | Annotated[TextParts, Tag("parts")], Discriminator(_kind)]
_Side = Annotated[
    Annotated[str, Tag("text")] | Annotated[TextParts, Tag("parts")] | Annotated[_List[_Text], Tag("texts")],
    Discriminator(_kind),
]


class VllmScoreBody(_Body):
    """`POST /score` and `/v1/score` of vLLM, which has four pairs of names for the two sides."""

    text_1: _Side | None = None
    text_2: _Side | None = None
    queries: _Side | None = None
    documents: _Side | None = None
    items: _Side | None = None
    data_1: _Side | None = None
    data_2: _Side | None = None
    model: _Id | None = None
    adapter: _Id | None = None
    truncate_prompt_tokens: _PairTokens | None = None
    use_activation: bool | None = None
    instruction: str | None = None


class TrialBody(_Body):
    """`POST /score` of the internal port: the operator tries a revision before clients may have it."""

    revision: Annotated[str, Field(min_length=1, max_length=256)]
    query: Annotated[str, Field(min_length=1)]
    documents: _List[str]
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
    items: _List[ScoreText]
    instruction: str | None = None
    options: ScoreOptions | None = None
