"""The code that pages show: fenced blocks, spans in the text, and the commands in both. No I/O but `pages`."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from hack.repository import ROOT, tracked

SHELL = ("sh", "console")
OPENING = re.compile(r"^(\s*)(`{3,})([\w-]*)\s*$")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
PROMPT = "$ "


@dataclass(frozen=True)
class Code:
    """A piece of code. where: `path:line`; language: empty for a span."""

    where: str
    language: str
    text: str


def pages() -> dict[str, str]:
    """Every page that users read, by its path; what is generated has no code of its own."""
    found = tracked("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "examples/*.md", "charts/*/README.md")
    return {path: (ROOT / path).read_text() for path in found if not path.startswith("docs/reference/")}


def code(path: str, text: str) -> Iterator[Code]:
    """The blocks and spans of a page, in order."""
    fence, language, begun = "", "", 0
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        opened = OPENING.match(line)
        if not fence and opened:
            fence, language, inside, begun = opened[2], opened[3], [], number
        elif fence and line.strip() == fence:
            yield Code(f"{path}:{begun}", language, textwrap.dedent("\n".join(inside)) + "\n")
            fence = ""
        elif fence:
            inside.append(line)
        else:
            yield from (Code(f"{path}:{number}", "", span) for span in SPAN.findall(line))


def commands(piece: Code) -> list[list[str]]:
    """The commands of a shell block or a span, word by word; variables, pipes and what is left out stay words."""
    if piece.language not in ("", *SHELL):
        return []
    lines = piece.text.replace("\\\n", " ").splitlines()
    if piece.language == "console":
        lines = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
    return [words for line in lines if (words := _words(line))]


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # the rest of a quoted text is on the next line: the flags stand before it
        return line.split()


def flags(words: list[str]) -> list[str]:
    """The names of a command's flags, such as `--steps`; what follows a pipe or a redirection is another's."""
    ends = [place for place, word in enumerate(words) if set(word) <= set("|&;<>()")]
    return [word.partition("=")[0] for word in words[: min(ends, default=None)] if word.startswith("--")]


def documents(piece: Code) -> list[Any]:
    """The documents of a YAML block."""
    return [each for each in yaml.safe_load_all(piece.text) if each is not None] if piece.language == "yaml" else []


def manifests(pieces: Iterator[Code]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole Kubernetes objects among them, with where they stand."""
    for piece in pieces:
        for document in documents(piece):
            if isinstance(document, dict) and {"apiVersion", "kind"} <= document.keys():
                yield piece.where, document


def everything() -> Iterator[Code]:
    """The code of every page."""
    for path, text in pages().items():
        yield from code(path, text)
