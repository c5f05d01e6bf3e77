"""The docs site builds without a warning, asks no other host for anything, and reads as GitHub shows the same files."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from markdown import markdown
from markdown_it import MarkdownIt

from hack.docs import site

#: What gives a page its shape; paragraphs inside list items differ by a reader's taste.
SHAPE = re.compile(r"<(pre|table|tr|td|ul|ol|li|img|h[1-6]|a|em|strong)\b")
BLOCK = re.compile(r"<pre.*?</pre>", re.DOTALL)

#: What a browser would load by itself.
LOADED = re.compile(
    r"""<(?:script|img|iframe|link rel="(?:stylesheet|icon|preload|preconnect))[^>]*?(?:src|href)="([^"]+)"""
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site and return its folder."""
    work = tmp_path_factory.mktemp("docs")
    assert site.build(work) == ""
    return work


def test_every_page_is_built(built: Path) -> None:
    sources = {path.relative_to(built / "docs").with_suffix(".html") for path in (built / "docs").rglob("*.md")}
    assert Path("index.html") in sources
    assert [str(name) for name in sources if not (built / "site" / name).is_file()] == []


def test_a_reader_loads_nothing_from_another_host(built: Path) -> None:
    pages = list((built / "site").rglob("*.html"))
    loaded = {address for path in pages for address in LOADED.findall(path.read_text())}
    assert any(address.endswith(".css") for address in loaded)
    assert [address for address in loaded if address.startswith(("http:", "https:", "//"))] == []


def test_pages_read_alike_on_the_site_and_in_the_repository(built: Path) -> None:
    extensions = [
        each if isinstance(each, str) else next(iter(each))
        for each in yaml.safe_load(site.CONFIGURATION.read_text())["markdown_extensions"]
    ]
    github = MarkdownIt("commonmark", {"html": True}).enable("table")
    for path in (built / "docs").rglob("*.md"):
        shapes = [
            Counter(SHAPE.findall(BLOCK.sub("<pre>", html)))
            for html in (markdown(path.read_text(), extensions=extensions), github.render(path.read_text()))
        ]
        assert shapes[0] == shapes[1], f"{path.name}: lists are indented by four spaces, and begin after an empty line"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("[x](gone.md)", "page does not exist", id="a page that isn't there"),
        pytest.param("[x](install.md#nowhere)", "anchor does not exist", id="an anchor that isn't there"),
        pytest.param("![x](images/gone.svg)", "leads to images/gone.svg", id="a picture that isn't there"),
        pytest.param(
            "[x](../hack/gone.py)", "leads to ../hack/gone.py, which isn't there", id="a file that isn't there"
        ),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(
    text: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "repository"
    for name, content in {"index.md": f"# Home\n\n{text}\n", "install.md": "# Install\n"}.items():
        (root / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "docs" / name).write_text(content)
    monkeypatch.setattr(site, "ROOT", root)
    monkeypatch.setattr(site, "GUESTS", {})
    monkeypatch.setattr(site, "tracked", lambda _: ["docs/index.md", "docs/install.md"])
    said = site.build(tmp_path / "work")
    assert wrong in said
    assert "mkdocs.yml names quickstart.md, which is no page" in said
