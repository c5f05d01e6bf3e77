"""Package descriptions become training groups and questions that keep held-out packages out."""

import math
from collections import Counter
from pathlib import Path

import pytest

from examples.finetune.bm25 import K1, B, Bm25, words
from examples.finetune.dataset import Question, questions, read, short_description, training_groups, write
from examples.finetune.packages import Package, described, one_per_source, read_lists, stanzas

LONG = "A tool that does one thing well and tells about it in a text that is long enough to say something, which " * 2


def package(name: str, *, source: str = "", section: str = "utils", short: str = "", long: str = "") -> Package:
    return Package(name, source or name, section, short or f"the tool {name}", long or f"{name}: {LONG}")


def test_stanzas_keep_folded_lines_and_end_at_blank_ones() -> None:
    text = "Package: a\nDescription-en: first\n line\n .\n more\n\n\nPackage: b\nSection: net"
    assert list(stanzas(text.splitlines())) == [
        {"Package": "a", "Description-en": "first\nline\n.\nmore"},
        {"Package": "b", "Section": "net"},
    ]


def test_lists_are_read_into_packages_with_their_long_descriptions(tmp_path: Path) -> None:
    (tmp_path / "deb_main_binary-amd64_Packages").write_text(
        "Package: foo-bin\nSource: foo (1.2)\nSection: games\n\nPackage: undescribed\nSection: net\n"
    )
    (tmp_path / "deb_main_i18n_Translation-en").write_text(
        "Package: foo-bin\nDescription-en: a game\n Of two\n lines.\n .\n And a paragraph.\n"
    )
    assert read_lists(tmp_path) == [Package("foo-bin", "foo", "games", "a game", "Of two lines. And a paragraph.")]


def test_missing_translations_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run with --download"):
        read_lists(tmp_path)


def test_siblings_of_a_source_are_held_out_together() -> None:
    for source in (f"source-{number}" for number in range(50)):
        assert package("a", source=source).held_out == package("b", source=source).held_out


@pytest.mark.parametrize(("section", "share"), [("utils", 2 / 16), ("science", 8 / 16)])
def test_the_held_out_share_follows_the_section(section: str, share: float) -> None:
    held_out = sum(package(f"p{number}", section=section).held_out for number in range(4000))
    assert held_out / 4000 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        pytest.param(package("b"), True, id="another text"),
        pytest.param(package("b", long="too short"), False, id="says nothing"),
        pytest.param(package("b", long=package("a").long), False, id="the same long text"),
        pytest.param(package("b", short=package("a").short), False, id="the same short text"),
        pytest.param(package("b", short="transitional package"), False, id="transitional"),
    ],
)
def test_only_packages_with_a_text_of_their_own_are_kept(other: Package, kept: bool) -> None:
    assert described([package("a"), other]) == [package("a"), *([other] if kept else [])]


def test_the_package_named_like_its_source_stands_for_it() -> None:
    siblings = [package("foo-doc", source="foo"), package("foo", source="foo"), package("bar", source="bar")]
    assert [chosen.name for chosen in one_per_source(siblings)] == ["foo", "bar"]


def test_words_keep_the_names_of_languages() -> None:
    assert words("C++ and C#, lower-case.") == ["c++", "and", "c#", "lower", "case"]


def test_bm25_equals_its_formula_computed_word_by_word() -> None:
    documents = ["red green blue", "red red tree by the river", "green", "a river, a tree, a river"]
    counted = [Counter(words(document)) for document in documents]
    mean = sum(counts.total() for counts in counted) / len(documents)
    for query in ("red river", "tree", "green green", "unknown"):
        expected = []
        for counts in counted:
            score = 0.0
            for word in words(query):
                holding = sum(word in other for other in counted)
                idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
                norm = K1 * (1 - B + B * counts.total() / mean)
                score += idf * counts[word] * (K1 + 1) / (counts[word] + norm) if counts[word] else 0.0
            expected.append(score)
        assert Bm25(documents).scores(query) == pytest.approx(expected)


def test_bm25_returns_no_document_that_shares_no_word() -> None:
    assert [number for number, _ in Bm25(["red", "blue", "red blue"]).top("red", 3)] == [0, 2]


def corpus() -> list[Package]:
    return [package(f"tool{number}", long=f"tool{number} reads and writes files. {LONG}") for number in range(8)]


def test_a_training_group_has_its_own_document_first_and_none_of_its_siblings() -> None:
    own = package("tool0", long=f"tool reads files {LONG}", short="reads files")
    sibling = package("tool0-doc", source="tool0", long=f"reads files reads files {LONG}")
    (group,) = training_groups([own], [own, sibling, *corpus()[1:]], short_description)
    assert group.documents[0] == own.long
    assert len(group.documents) == 4
    assert sibling.long not in group.documents
    assert own.long not in group.documents[1:]


def test_training_groups_are_the_same_for_everyone() -> None:
    assert training_groups(corpus(), corpus(), short_description) == training_groups(
        corpus(), corpus(), short_description
    )


def test_a_question_says_where_its_answer_stands_or_that_it_was_missed() -> None:
    found, missed = package("tool3", short="tool3"), package("other", short="reads", long="nothing in common")
    first, second = questions([found, missed], [*corpus(), missed], short_description)
    assert first.documents[first.relevant] == corpus()[3].long
    assert second.relevant == -1


def test_a_set_survives_being_written_and_read(tmp_path: Path) -> None:
    rows = [Question("über", ("one", "two"), 1), Question("x", (), -1)]
    write(tmp_path / "set.jsonl", rows)
    assert read(tmp_path / "set.jsonl") == rows
