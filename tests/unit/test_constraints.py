"""constraints.txt pins what the images hold and are built with, and nothing else: an edit builds them anew."""

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hack.repository import ROOT

BUILT_WITH = {"setuptools", "wheel"}


def pinned(path: Path) -> set[str]:
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return {canonicalize_name(name) for name, _, _ in (line.partition("==") for line in lines)}


def needed(distribution: str) -> Iterator[str]:
    """What the package in this folder is installed with, as requirements."""
    project = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text())["project"]
    yield from project["dependencies"]
    yield from project.get("optional-dependencies", {}).get("tracing", ())


def closure(requirements: Iterator[str]) -> set[str]:
    """The names of these and of all that they require, as it is installed here."""
    found: set[tuple[str, str]] = set()
    pending = [Requirement(each) for each in requirements]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in found:
                found.add((name, extra))
                pending += _required(name, extra)
    return {name for name, _ in found}


def _required(name: str, extra: str) -> list[Requirement]:
    every = [Requirement(each) for each in importlib.metadata.requires(name) or ()]
    return [each for each in every if each.marker is None or each.marker.evaluate({"extra": extra})]


def test_only_what_is_in_an_image_builds_it_anew() -> None:
    shipped = closure(needed("operator")) | closure(needed("worker"))
    assert pinned(ROOT / "constraints.txt") - shipped - BUILT_WITH == set()
    assert pinned(ROOT / "constraints-dev.txt") & (shipped | BUILT_WITH) == set()


def test_what_builds_the_packages_is_pinned() -> None:
    assert pinned(ROOT / "constraints.txt") >= BUILT_WITH
