"""Real text: Debian's package descriptions, read from apt's lists into plain data."""

import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SHORTEST_DOCUMENT = 120  # characters; below this a description mostly repeats its own title
HELD_OUT_SIXTEENTHS = {"science": 8}  # science is small: half of it is kept to judge its adapter
HELD_OUT_SIXTEENTHS_DEFAULT = 2
NOT_A_DESCRIPTION = re.compile(r"transitional|dummy package|debug symbols|metapackage|meta-package", re.IGNORECASE)


@dataclass(frozen=True)
class Package:
    """A package with its description: `short` is used as a query, `long` as the document that answers it."""

    name: str
    source: str
    section: str
    short: str
    long: str

    @property
    def held_out(self) -> bool:
        """Tell whether training must never see it; decided by its source, so that siblings stay together."""
        sixteenth = hashlib.sha256(self.source.encode()).digest()[0] % 16
        return sixteenth < HELD_OUT_SIXTEENTHS.get(self.section, HELD_OUT_SIXTEENTHS_DEFAULT)


def download_lists(folder: Path) -> Path:
    """Fetch apt's lists with English long descriptions into a folder of their own; the system's stay untouched."""
    lists, cache = folder / "lists", folder / "cache"
    for path in (lists / "partial", cache):
        path.mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::lists": lists,
        "Dir::Cache": cache,
        "Acquire::Languages": "en",
        "Acquire::GzipIndexes": "false",
    }
    subprocess.run(["apt-get", "update", "-q", *(f"-o{key}={value}" for key, value in options.items())], check=True)
    return lists


def read_lists(lists: Path) -> list[Package]:
    """Read every described package of the lists' main archive, in the order of their names."""
    indexes = sorted(lists.glob("*_main_binary-*_Packages"))
    translations = sorted(lists.glob("*_main_i18n_Translation-en"))
    if not indexes or not translations:
        raise FileNotFoundError(f"{lists} holds no *_Packages with *_Translation-en: run with --download")
    translated = (stanza for file in translations for stanza in stanzas(file.read_text().splitlines()))
    descriptions = {stanza["Package"]: stanza["Description-en"] for stanza in translated}
    found: dict[str, Package] = {}
    for index in indexes:
        for stanza in stanzas(index.read_text().splitlines()):
            name = stanza["Package"]
            if name in descriptions:
                found[name] = _package(stanza, descriptions[name])
    return [found[name] for name in sorted(found)]


def stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the stanzas of a Debian control file; the lines of a folded field stay apart by newlines."""
    fields: dict[str, str] = {}
    key = ""
    for line in lines:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0].isspace():
            fields[key] += "\n" + line.strip()
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    if fields:
        yield fields


def _package(stanza: dict[str, str], description: str) -> Package:
    short, _, rest = description.partition("\n")
    long = " ".join(line for line in rest.split("\n") if line != ".")
    source = stanza.get("Source", stanza["Package"]).split(" ")[0]
    return Package(stanza["Package"], source, stanza.get("Section", ""), short, re.sub(r"\s+", " ", long).strip())


def described(packages: Iterable[Package]) -> list[Package]:
    """Keep packages whose description says something, one for each distinct text."""
    kept: list[Package] = []
    seen: set[str] = set()
    for package in packages:
        if len(package.long) < SHORTEST_DOCUMENT or NOT_A_DESCRIPTION.search(f"{package.short} {package.long}"):
            continue
        if package.long in seen or package.short in seen:
            continue
        seen |= {package.long, package.short}
        kept.append(package)
    return kept


def one_per_source(packages: Iterable[Package]) -> list[Package]:
    """Keep one package of each source: siblings share their text, so they would count as wrong answers unjustly."""
    chosen: dict[str, Package] = {}
    for package in packages:
        known = chosen.get(package.source)
        if known is None or _rank(package) < _rank(known):
            chosen[package.source] = package
    return list(chosen.values())


def _rank(package: Package) -> tuple[bool, int, str]:
    return (package.name != package.source, len(package.name), package.name)
