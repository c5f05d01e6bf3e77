"""The model that is measured: by default the demo's trained MiniLM, in files of the precision that is compared."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hack.demo.models import artifacts

_NAME = "debian-search-2"


def cache_folder() -> Path:
    """Return the user's folder of what benchmarks install."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reranker-bench"


def default_model() -> Path:
    """Return the folder of the demo's second revision, as examples/finetune/README.md makes it."""
    return next(artifact.folder for artifact in artifacts() if artifact.name == _NAME)


def in_precision(model: Path, dtype: str, folder: Path) -> Path:
    """Return a copy of a model under the folder whose weights have a precision: some systems take the file's.

    dtype: float32 or bfloat16, as torch and config.json name it.
    """
    copy = folder / f"{model.name}-{dtype}"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for file in model.iterdir():
        if file.suffix == ".safetensors":
            weights = load_file(file)
            save_file({name: weight.to(getattr(torch, dtype)) for name, weight in weights.items()}, copy / file.name)
        else:
            shutil.copy(file, copy)
    config = json.loads((copy / "config.json").read_text())
    config.pop("torch_dtype", None)  # the former name of the same
    (copy / "config.json").write_text(json.dumps({**config, "dtype": dtype}))
    return copy
