"""What each image is made of, and the tag that follows from it."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from hack.repository import ROOT

WHEELS = ROOT.parent / "shared" / "wheels"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_INDEX_TIMEOUT_S = 5
TAG_LENGTH = 12


@dataclass(frozen=True)
class Recipe:
    """One image: its Dockerfile, the files that go into it, and its build arguments."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...] = ()
    wheels: Path | None = None


def operator() -> Recipe:
    """Return the operator's image."""
    return Recipe("reranker-operator", "Dockerfile.operator", ("constraints.txt", "operator"))


def worker() -> Recipe:
    """Return the worker's image, with the build of torch that is at hand: for a CPU where that can be had."""
    wheels = WHEELS if any(WHEELS.glob("torch-*+cpu-*.whl")) else None
    torch = os.environ.get("TORCH") or ("cpu" if wheels or _answers(f"{CPU_INDEX}/torch/") else "cuda")
    return Recipe(
        name="reranker-worker",
        dockerfile="Dockerfile.worker",
        inputs=("constraints.txt", "worker"),
        arguments=(("TORCH", torch),),
        wheels=wheels if torch == "cpu" else None,
    )


RECIPES = {"operator": operator, "worker": worker}


def tag(recipe: Recipe, base: str, root: Path = ROOT) -> str:
    """Return a tag that changes when, and only when, something that the image is made of changes."""
    digest = hashlib.sha256(f"{base} {recipe.arguments}".encode())
    for path in [root / recipe.dockerfile, root / ".dockerignore", *input_files(root, recipe.inputs)]:
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:TAG_LENGTH]


def input_files(root: Path, inputs: Iterable[str]) -> Iterator[Path]:
    """Yield the files that .dockerignore lets into the build, sorted."""
    for name in inputs:
        place = root / name
        if place.is_file():
            yield place
            continue
        yield place / "pyproject.toml"
        package = next(place.glob("reranker_*/__init__.py")).parent
        made = {"__pycache__", ".so"}
        yield from sorted(
            path for path in package.rglob("*") if path.is_file() and made.isdisjoint((*path.parts, path.suffix))
        )


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=CPU_INDEX_TIMEOUT_S) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False
