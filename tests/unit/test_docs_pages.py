"""Pages of the repository become pages of the site, and their links lead to where those are."""

import pytest

from hack.docs.pages import code_page, listed, navigation, page, place

THERE = {"docs/install.md", "docs/guides/eks.md", "docs/images/x.svg", "examples/gitops", "hack/check/policies.py"}
THERE |= {"examples/finetune", "examples/finetune/README.md", "charts/reranker-operator/README.md"}


@pytest.mark.parametrize(
    ("source", "link", "led"),
    [
        pytest.param("docs/index.md", "install.md", "install.md", id="a page beside it"),
        pytest.param("docs/guides/eks.md", "../install.md#images", "../install.md#images", id="an anchor is kept"),
        pytest.param("docs/install.md", "images/x.svg", "images/x.svg", id="a picture"),
        pytest.param("docs/install.md", "../charts/reranker-operator/README.md", "reference/chart.md", id="a guest"),
        pytest.param("docs/guides/eks.md", "../../examples/finetune", "../examples/finetune.md", id="a guest's folder"),
        pytest.param("docs/install.md", "../hack/check/policies.py", "files/hack/check/policies.py.md", id="code"),
        pytest.param("examples/finetune/README.md", "../../docs/install.md", "../install.md", id="from a guest"),
        pytest.param("docs/install.md", "#images", "#images", id="the same page"),
        pytest.param("docs/install.md", "https://example.com/a.md", "https://example.com/a.md", id="another host"),
    ],
)
def test_a_link_leads_to_the_page_that_its_target_became(source: str, link: str, led: str) -> None:
    assert page(source, f"See [this]({link}), please.", THERE.__contains__).text == f"See [this]({led}), please.\n"


def test_what_isnt_there_is_told_and_left_as_it_is() -> None:
    made = page(
        "docs/install.md", "[a](gone.md#x) ![b](images/gone.svg) [c](images/x.svg) `[d](gone)`", THERE.__contains__
    )
    assert made.gone == ("gone.md#x", "images/gone.svg")
    assert made.text == "[a](gone.md#x) ![b](images/gone.svg) [c](images/x.svg) `[d](gone)`\n"


def test_a_page_wants_the_code_that_it_leads_to() -> None:
    made = page("docs/gitops.md", "[a](../examples/gitops) [b](install.md)", THERE.__contains__)
    assert made.wants == {"examples/gitops"}
    assert place("examples/gitops") == "files/examples/gitops.md"


def test_fenced_code_is_left_as_it_is() -> None:
    text = "```md\n[this](../examples/gitops)\n| `a\\|b` |\n```\n| `a\\|b` | c\\|d |\n"
    assert page("docs/install.md", text, THERE.__contains__).text == text.replace("| `a\\|b` | c", "| `a|b` | c")


def test_a_folder_is_shown_file_by_file_in_its_language() -> None:
    made = code_page("examples/gitops", [("examples/gitops/flux/a.yaml", "a: 1\n"), ("examples/gitops/notes", "x")])
    assert made.name == "files/examples/gitops.md"
    assert "## flux/a.yaml\n\n````yaml\na: 1\n````\n" in made.text
    assert "````text\nx\n````" in made.text


def test_pages_that_the_navigation_forgot_come_last_and_code_isnt_listed() -> None:
    nav: list[object] = [{"Home": "index.md"}, {"Guides": [{"Install": "install.md"}]}]
    assert listed(nav) == ["index.md", "install.md"]
    pages = ["index.md", "install.md", "routing.md", "autoscaling.md", "files/x.md"]
    assert navigation(nav, pages) == [*nav, {"More": ["autoscaling.md", "routing.md"]}]
    assert navigation(nav, pages[:2]) == nav
