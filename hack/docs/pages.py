"""The pages of the site, and where the links between them lead. No I/O.

The sources are written for readers of the repository, where a link may lead to any file. On the site it leads to the
page that the file became; what is no page of its own is shown as a page of code.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

DOCS = "docs/"

#: Pages of the repository that lie elsewhere, and their places on the site.
GUESTS = {
    "charts/reranker-operator/README.md": "reference/chart.md",
    "examples/debian-search/README.md": "examples/debian-search.md",
    "examples/finetune/README.md": "examples/finetune.md",
    "examples/two_stage_search/README.md": "examples/two_stage_search.md",
}

#: Folder of the pages that show files of the repository.
CODE = "files/"

#: What a page of code is coloured as, by the end of the file's name.
LANGUAGES = {".json": "json", ".lua": "lua", ".md": "markdown", ".py": "python", ".toml": "toml", ".yaml": "yaml"}

FENCE = re.compile(r"^\s*(`{3,})")
LINK = re.compile(r"(?<=\]\()[^()\s]+(?=\))")
CODE_SPAN = re.compile(r"(`[^`]*`)")
SCHEME = re.compile(r"[a-z]+:")


@dataclass(frozen=True)
class Page:
    """A page of the site. name: its place there; wants: code of the repository that it leads to; gone: dead links."""

    name: str
    text: str
    wants: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()


def place(path: str) -> str:
    """The page on the site that a file or folder of the repository is read on."""
    if path in GUESTS:
        return GUESTS[path]
    if f"{path}/README.md" in GUESTS:
        return GUESTS[f"{path}/README.md"]
    return path.removeprefix(DOCS) if path.startswith(DOCS) else f"{CODE}{path}.md"


def page(source: str, text: str, exists: Callable[[str], bool]) -> Page:
    """The page of a Markdown file. A link to what doesn't exist is left as it is, and told of."""
    name = place(source)
    wants: set[str] = set()
    gone: list[str] = []

    def led(match: re.Match[str]) -> str:
        target, hash_, anchor = match[0].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not target or SCHEME.match(target):
            return match[0]
        if not exists(path):
            gone.append(match[0])
            return match[0]
        there = place(path)
        if there.startswith(CODE):
            wants.add(path)
        return posixpath.relpath(there, posixpath.dirname(name) or ".") + hash_ + anchor

    lines = list(prose_lines(text, lambda line: _changed(line, led)))
    return Page(name, "\n".join(lines) + "\n", frozenset(wants), tuple(gone))


def prose_lines(text: str, change: Callable[[str], str]) -> Iterator[str]:
    """The lines of a page, those outside of fenced code changed."""
    fence = ""
    for line in text.splitlines():
        opened = FENCE.match(line)
        if opened and (not fence or opened[1] == fence):
            fence = "" if fence else opened[1]
            yield line
        else:
            yield line if fence else change(line)


def _changed(line: str, led: Callable[[re.Match[str]], str]) -> str:
    parts = CODE_SPAN.split(line)  # every other one is code
    parts[::2] = [LINK.sub(led, part) for part in parts[::2]]
    if line.startswith("|"):  # in a table's code GitHub wants each `|` escaped, and the site would show the `\\`
        parts[1::2] = [part.replace("\\|", "|") for part in parts[1::2]]
    return "".join(parts)


def code_page(path: str, files: Iterable[tuple[str, str]]) -> Page:
    """A page that shows a file, or all files of a folder: pairs of path and content."""
    lines = [f"# {path}", ""]
    for name, content in files:
        inner = name.removeprefix(path).lstrip("/")
        lines += [f"## {inner}", ""] if inner else []
        lines += [f"````{LANGUAGES.get(posixpath.splitext(name)[1], 'text')}", content.rstrip("\n"), "````", ""]
    return Page(place(path), "\n".join(lines))


def listed(entry: object) -> list[str]:
    """The pages that an entry of the navigation names, those of its sections included."""
    if isinstance(entry, str):
        return [entry]
    nested = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return [name for each in nested for name in listed(each)]


def navigation(nav: list[object], pages: Iterable[str]) -> list[object]:
    """`nav`, and at its end the pages that it doesn't name; code is reached by links alone."""
    named = set(listed(nav))
    rest = sorted(name for name in pages if name not in named and not name.startswith(CODE))
    return [*nav, {"More": rest}] if rest else nav
