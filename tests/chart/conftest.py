"""The chart as the real helm renders it."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import golang
from hack.repository import ROOT

CHART = ROOT / "charts/reranker-operator"

Json = dict[str, Any]


class Rendered(list[Json]):
    """The objects of one rendering."""

    def of(self, kind: str) -> list[Json]:
        return [each for each in self if each["kind"] == kind]

    def one(self, kind: str) -> Json:
        (only,) = self.of(kind)
        return only


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run helm, with values on its standard input where they are given."""
    program = golang.build(golang.HELM)

    def run(*arguments: str | Path, values: Json | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments, *([] if values is None else ["--values", "-"])],
            input=yaml.safe_dump(values),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[[Json], Rendered]:
    """Render the chart with values, as release `search` in namespace `rerankers`."""

    def rendered(values: Json) -> Rendered:
        done = helm("template", "search", CHART, "--namespace", "rerankers", values=values)
        assert done.returncode == 0, done.stderr
        return Rendered(each for each in yaml.safe_load_all(done.stdout) if each)

    return rendered
