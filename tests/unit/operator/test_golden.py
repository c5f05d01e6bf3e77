"""What is a golden set, and what is said of one that isn't."""

import pytest

from reranker_operator.decisions.golden import MAX_QUESTIONS, GoldenSetInvalid, golden_set

LINE = '{"query": "q", "documents": ["a", "b"], "relevance": [2, 0]}'


def test_each_line_is_a_question_and_empty_ones_are_none() -> None:
    found = golden_set(f"{LINE}\n\n" + LINE.replace('"q"', '"r"') + "\n")
    assert [(each.query, each.documents, each.relevance) for each in found] == [
        ("q", ("a", "b"), (2, 0)),
        ("r", ("a", "b"), (2, 0)),
    ]


def test_other_members_are_the_owners_own() -> None:
    assert golden_set(LINE.replace("{", '{"id": 7, ')) == golden_set(LINE)


INVALID = {
    "nothing": ("", "holds no question"),
    "no JSON": (f"{LINE}\n{{oops", "line 2 isn't JSON"),
    "no object": ("[1]", "line 1: Input should be"),
    "no query": ('{"documents": ["a"], "relevance": [1]}', "line 1: query: Field required"),
    "an empty query": (LINE.replace('"q"', '""'), "line 1: query: String should have at least 1 character"),
    "no document": ('{"query": "q", "documents": [], "relevance": []}', "line 1: documents: Tuple should have at"),
    "a grade too few": (LINE.replace("[2, 0]", "[2]"), "1 grades for 2 documents; give one for each"),
    "a grade below 0": (LINE.replace("[2, 0]", "[2, -1]"), "line 1: relevance.1: Input should be greater than or"),
    "a grade that is no number": (LINE.replace("[2, 0]", '[2, "0"]'), "line 1: relevance.1: Input should be a valid"),
    "nothing relevant": (LINE.replace("[2, 0]", "[0, 0]"), "no document is relevant; grade at least one above 0"),
    "too many questions": (f"{LINE}\n" * (MAX_QUESTIONS + 1), f"at most {MAX_QUESTIONS} are asked"),
}


@pytest.mark.parametrize(("text", "words"), INVALID.values(), ids=INVALID.keys())
def test_a_broken_set_is_refused_by_its_line(text: str, words: str) -> None:
    with pytest.raises(GoldenSetInvalid) as refusal:
        golden_set(text)
    assert words in str(refusal.value)
