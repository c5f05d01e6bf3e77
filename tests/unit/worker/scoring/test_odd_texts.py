"""Texts that nobody expects are scored as transformers would, or refused with words that help."""

from pathlib import Path

import pytest

from reranker_worker.errors import InvalidRequest
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import LoadedModel, ScoreRequest, Serving
from tests.fixtures.reference import reference_logits

QUERY = "fast python library"
ODD = [
    pytest.param(["", "fast web server"], id="empty"),
    pytest.param(["   \n\t ", "fast"], id="white space"),
    pytest.param(["a", "?", "é"], id="one character"),
    pytest.param(["fast 🚀🚀 library 👩‍👩‍👧‍👦", "🙂"], id="emoji"),
    pytest.param(["מנוע חיפוש fast", "محرك بحث سريع", "\u202efast\u202c"], id="right to left"),
    pytest.param(["fast library"] * 5, id="duplicates"),
    pytest.param(["naïve café", "nai\u0308ve cafe\u0301"], id="composed and decomposed"),
    pytest.param(["快速 python 图书馆"], id="Chinese"),
    pytest.param(["null\x00byte \x1b[31mred\x7f \ufffd \ufeff"], id="control characters"),
    pytest.param(["[SEP] fast [CLS] [PAD]", "<s> </s> <pad>"], id="special tokens spelt out"),
    pytest.param(["fast web server " * 65_000], id="a megabyte"),
    pytest.param(["x" * 1_000_000], id="a megabyte without a space"),
]


@pytest.mark.parametrize("documents", ODD)
async def test_odd_documents_are_scored_as_transformers_scores_them(
    documents: list[str], engine: Engine, bert_model: LoadedModel, bert: Path
) -> None:
    engine.serve(Serving(bert_model))
    result = await engine.score(ScoreRequest(QUERY, documents))
    expected = reference_logits(bert, QUERY, documents, max_length=bert_model.max_length)
    assert result.scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("query", "documents", "words"),
    [
        pytest.param("\ud800", ["fast"], "query holds a lone surrogate", id="a query that is no Unicode"),
        pytest.param(QUERY, ["fast", "\udfff"], "documents holds a lone surrogate", id="a document that is none"),
        pytest.param("fast " * 500, ["fast"], r"query has \d+ tokens; this model takes at most", id="an endless query"),
    ],
)
async def test_what_cannot_be_scored_is_refused_by_name(
    query: str, documents: list[str], words: str, engine: Engine, bert_model: LoadedModel
) -> None:
    engine.serve(Serving(bert_model))
    with pytest.raises(InvalidRequest, match=words):
        await engine.score(ScoreRequest(query, documents))
    assert len((await engine.score(ScoreRequest(QUERY, ["fast"]))).scores) == 1
