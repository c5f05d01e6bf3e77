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


@pytest.mark.skipif("search" not in bindings(), reason="bm25s belongs to another environment")
def test_reranking_beats_bm25_alone(request: pytest.FixtureRequest, stage: Stage) -> None:
    printed = run(request, "search", stage)
    print(printed)
    before, after = map(float, re.findall(r"(?:BM25|reranked) (0\.\d+)", printed))
    assert after > before


@pytest.mark.parametrize(
    ("script", "binding", "arguments"),
    [
        pytest.param("langchain_search", "langchain", ["--model"], id="LangChain"),
        pytest.param("llama_index_search", "llama_index", [], id="LlamaIndex"),
    ],
)
def test_a_frameworks_search_finds_the_package(
    script: str, binding: str, arguments: list[str], request: pytest.FixtureRequest, stage: Stage
) -> None:
    if binding not in bindings():
        pytest.skip(f"{binding} belongs to another environment")
    printed = run(request, script, stage, *arguments, *([stage.model] if arguments else []))
    names = [line.split()[1] for line in printed.splitlines()]
    assert len(names) == 3
    assert "survex" in names or "therion" in names
