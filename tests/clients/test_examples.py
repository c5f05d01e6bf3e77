"""The examples of two-stage search run as they stand, in the environment that has their library."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.stage import Stage, bindings

ROOT = Path(__file__).parents[2]


def run(request: pytest.FixtureRequest, script: str, stage: Stage, *arguments: str) -> str:
    """Return what an example prints; the report has a row for it."""
    row = [("client", f"{script}.py, examples/two_stage_search"), ("behaviour", "ranking"), ("seen", "equal")]
    request.node.user_properties += row
    command = [
        sys.executable,
        "-m",
        f"examples.two_stage_search.{script}",
        f"--url={stage.url}",
        f"--key={stage.key}",
        *arguments,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", [name for name in ("search",) if name in bindings()])
def test_reranking_beats_bm25_alone(
    script: str, request: pytest.FixtureRequest, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(request, script, stage)
    with capsys.disabled():
        print(f"\n{printed}", end="")
    before, after = map(float, re.findall(r"(?:BM25|reranked) (0\.\d+)", printed))
    assert after > before


@pytest.mark.parametrize("binding", [name for name in ("langchain", "llama_index") if name in bindings()])
def test_a_frameworks_search_finds_the_package(binding: str, request: pytest.FixtureRequest, stage: Stage) -> None:
    named = [f"--model={stage.model}"] if binding == "langchain" else []
    printed = run(request, f"{binding}_search", stage, *named)
    names = [line.split()[1] for line in printed.splitlines()]
    assert len(names) == 3
    assert "survex" in names or "therion" in names
