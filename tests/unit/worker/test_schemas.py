"""What a body's schema says of a body that doesn't fit: little, however much of it is wrong."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from reranker_worker.web.schemas import (
    RerankBody,
    ScoreBody,
    TeiBody,
    TrialBody,
    VllmScoreBody,
    VoyageBody,
    WeaviateBody,
)

WRONG = [0] * 10_000
QUERY: dict[str, Any] = {"query": "q"}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (RerankBody, QUERY | {"documents": WRONG}),
        (RerankBody, QUERY | {"documents": ["a"], "rank_fields": WRONG}),
        (VoyageBody, QUERY | {"documents": WRONG}),
        (TeiBody, QUERY | {"texts": WRONG}),
        (WeaviateBody, QUERY | {"documents": WRONG}),
        (VllmScoreBody, {"text_1": "q", "text_2": WRONG}),
        (VllmScoreBody, {"text_1": WRONG, "text_2": "a"}),
        (VllmScoreBody, {"queries": "q", "documents": WRONG}),
        (VllmScoreBody, {"queries": WRONG, "documents": "a"}),
        (VllmScoreBody, {"queries": "a", "items": [{"content": WRONG}]}),
        (VllmScoreBody, {"data_1": {"content": WRONG}, "data_2": "a"}),
        (TrialBody, QUERY | {"revision": "m-1", "documents": WRONG}),
        (ScoreBody, {"query": {"text": "q"}, "items": WRONG}),
        (ScoreBody, {"query": {"text": "q"}, "items": [{"text": 1, "id": 1}] * 10_000}),
    ],
)
def test_of_ten_thousand_wrong_items_the_first_one_is_told(schema: type[BaseModel], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        schema.model_validate(body)
    assert raised.value.error_count() <= 2
