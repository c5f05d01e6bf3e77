"""Write the demo's questions: held-out queries with BM25's first 20 of all packages.

Neither a query nor the package that answers it was trained on; the other candidates may have been.

python3 -m examples.finetune.queries    (writes examples/debian-search/queries.json)
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.finetune.bm25 import Bm25
from examples.finetune.dataset import CANDIDATES, WORK, shuffled
from examples.finetune.packages import Package, described, one_per_source, read_lists

TARGET = Path("examples/debian-search/queries.json")
GENERAL, SCIENCE = 24, 12
LONGEST_DOCUMENT = 800  # characters
LICENCE = (
    "Descriptions of packages in Debian 12 (bookworm), from the archive's Translation-en file; each description is "
    "under the terms of its package, as /usr/share/doc/<package>/copyright states them."
)


def clipped(text: str) -> str:
    """Return a text cut after the last sentence that fits."""
    if len(text) <= LONGEST_DOCUMENT:
        return text
    head = text[:LONGEST_DOCUMENT]
    sentence = head.rfind(". ")
    return head[: sentence + 1] if sentence > LONGEST_DOCUMENT // 2 else head[: head.rfind(" ")]


def answerable(asked: Sequence[Package], corpus: Sequence[Package], count: int) -> list[dict[str, Any]]:
    """Return the first `count` questions whose right answer is among BM25's candidates, wherever it stands there."""
    index = Bm25([clipped(package.long) for package in corpus])
    found: list[dict[str, Any]] = []
    for package in asked:
        candidates = [corpus[number] for number, _ in index.top(package.short, CANDIDATES)]
        if len(candidates) == CANDIDATES and package in candidates:
            names = [other.name for other in candidates]
            about = {"query": package.short, "section": package.section, "relevant": package.name}
            found.append(about | {"candidates": names})
        if len(found) == count:
            break
    return found


def main() -> None:
    """Draw the questions and write them with the descriptions that they need."""
    corpus = one_per_source(described(read_lists(WORK / "apt" / "lists")))
    held_out = [package for package in corpus if package.held_out]
    science = [package for package in held_out if package.section == "science"]
    general = [package for package in held_out if package.section != "science"]
    questions = answerable(shuffled(general, "demo"), corpus, GENERAL)
    questions += answerable(shuffled(science, "demo"), corpus, SCIENCE)
    named = {name for question in questions for name in question["candidates"]}
    texts = {p.name: {"short": p.short, "long": clipped(p.long)} for p in corpus if p.name in named}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    content = {"licence": LICENCE, "queries": questions, "packages": texts}
    TARGET.write_text(json.dumps(content, indent=0, ensure_ascii=False) + "\n")
    print(f"{TARGET}: {len(questions)} queries, {len(texts)} packages, {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
