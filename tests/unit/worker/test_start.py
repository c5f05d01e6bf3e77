"""A worker's start: no import that the first score doesn't need, and none on a device that wasn't asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.checkpoints import bert_checkpoint
from tests.fixtures.families import FAMILIES

# Each takes from a tenth of a second to several, and belongs to code that isn't run.
HEAVY = (
    "transformers",
    "huggingface_hub",
    "httpx2",
    "obstore",
    "opentelemetry.sdk",
    "torch._dynamo",
    "torch._inductor",
)
FIRST_SCORE = """
import sys
from pathlib import Path
import reranker_worker.__main__
from reranker_worker import lifecycle
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, Limits
folder, *heavy = sys.argv[1:]
Engine(Limits(), "cpu").load_model(Path(folder), "r1", EngineSettings(dtype="float32"))
sys.stdout.write(" ".join(name for name in heavy if name in sys.modules))
"""


def heavy_imports(folder: Path) -> set[str]:
    command = [sys.executable, "-c", FIRST_SCORE, str(folder), *HEAVY]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("family", ["bert", "jina"])
def test_an_encoder_scores_without_heavy_imports(family: str, tmp_path: Path) -> None:
    write = bert_checkpoint if family == "bert" else FAMILIES[family]
    assert heavy_imports(write(tmp_path)) == set()


def test_a_family_of_transformers_own_modules_imports_them(tmp_path: Path) -> None:
    assert "transformers" in heavy_imports(FAMILIES["modernbert"](tmp_path))


@pytest.mark.parametrize(
    ("device", "words"), [("cuda", "--device=cuda: "), ("gpu", "--device: ")], ids=["not there", "no device's name"]
)
def test_a_worker_that_is_told_to_use_a_gpu_never_starts_without_it(device: str, words: str) -> None:
    command = [sys.executable, "-m", "reranker_worker", "serve", "--template=t1", f"--device={device}"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert f"reranker-worker serve: {words}" in ended.stderr
