"""Training groups and held-out questions made from package descriptions, each set one JSON-lines file.

python3 -m examples.finetune.dataset --download
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from examples.finetune.bm25 import Bm25
from examples.finetune.packages import Package, described, download_lists, one_per_source, read_lists

WORK = Path("build/finetune")
NEGATIVES = 3
NEGATIVES_FROM = 20  # the best wrong answers are drawn from this many of BM25's first ones
CANDIDATES = 20
NAMES = 2500  # packages to train the names adapter on


@dataclass(frozen=True)
class Question:
    """A query with its documents. `relevant` is the index of the right one, -1 where the first stage missed it."""

    query: str
    documents: tuple[str, ...]
    relevant: int


def shuffled(packages: Iterable[Package], salt: str) -> list[Package]:
    """Return the packages in an order that is arbitrary but the same for everyone."""
    return sorted(packages, key=lambda package: hashlib.sha256(f"{salt}/{package.name}".encode()).digest())


def short_description(package: Package) -> str:
    """Return the query that stands for a package: what it is, in one line."""
    return package.short


def name(package: Package) -> str:
    """Return the query of the names adapter: the package's name alone."""
    return package.name


def training_groups(
    asked: Iterable[Package], corpus: Sequence[Package], query: Callable[[Package], str]
) -> list[Question]:
    """Return each package's query with its own document first and BM25's wrong answers after it."""
    index = Bm25([package.long for package in corpus])
    groups = []
    for package in asked:
        ranked = [corpus[number] for number, _ in index.top(query(package), NEGATIVES_FROM)]
        wrong = [other for other in ranked if other.source != package.source]
        if len(wrong) >= NEGATIVES:
            drawn = shuffled(wrong, package.name)[:NEGATIVES]
            groups.append(Question(query(package), (package.long, *(other.long for other in drawn)), 0))
    return groups


def questions(asked: Iterable[Package], corpus: Sequence[Package], query: Callable[[Package], str]) -> list[Question]:
    """Return each package's query with BM25's first documents, in BM25's order."""
    index = Bm25([package.long for package in corpus])
    found = []
    for package in asked:
        ranked = [corpus[number] for number, _ in index.top(query(package), CANDIDATES)]
        names = [other.name for other in ranked]
        relevant = names.index(package.name) if package.name in names else -1
        found.append(Question(query(package), tuple(other.long for other in ranked), relevant))
    return found


def read(path: Path) -> list[Question]:
    """Read a set that `write` wrote."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [Question(row["query"], tuple(row["documents"]), row["relevant"]) for row in rows]


def write(path: Path, rows: Iterable[Question]) -> None:
    """Write a set, one question a line."""
    lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(lines)} queries")


def main() -> None:
    """Write the three training sets and the three held-out ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--download", action="store_true", help="fetch apt's lists first")
    parser.add_argument("--lists", type=Path, default=WORK / "apt" / "lists")
    args = parser.parse_args()
    if args.download:
        download_lists(args.lists.parent)

    packages = one_per_source(described(read_lists(args.lists)))
    seen = [package for package in packages if not package.held_out]
    held_out = [package for package in packages if package.held_out]
    # The base model never trains on science, so that the science adapter has something to learn.
    general = shuffled((package for package in seen if package.section != "science"), "train")
    science = shuffled((package for package in seen if package.section == "science"), "science")
    science_test = shuffled((package for package in held_out if package.section == "science"), "science")

    WORK.mkdir(parents=True, exist_ok=True)
    write(WORK / "train.jsonl", training_groups(general, seen, short_description))
    write(WORK / "science-train.jsonl", training_groups(science, seen, short_description))
    write(WORK / "names-train.jsonl", training_groups(general[-NAMES:], seen, name))
    write(WORK / "test.jsonl", questions(shuffled(held_out, "test")[:500], held_out, short_description))
    write(WORK / "science-test.jsonl", questions(science_test[:300], held_out, short_description))
    write(WORK / "names-test.jsonl", questions(shuffled(held_out, "names")[:250], held_out, name))


if __name__ == "__main__":
    main()
