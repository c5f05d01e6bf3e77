"""The models that are measured: the demo's trained MiniLM in files of one precision, and larger ones."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hack.demo.models import artifacts

_NAME = "debian-search-2"
SIZES: Mapping[str, Mapping[str, int]] = {
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096},
}
"""BERT's, and so those of bge-reranker-base and -large."""


def cache_folder() -> Path:
    """Return the user's folder of what benchmarks install."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reranker-bench"


def default_model() -> Path:
    """Return the folder of the demo's second revision, as examples/finetune/README.md makes it."""
    return next(artifact.folder for artifact in artifacts() if artifact.name == _NAME)


def of_size(size: str | None) -> Path:
    """Return a model of one of SIZES with random weights and the default model's tokenizer, or the default model.

    What a forward costs doesn't depend on the weights' values, and no trained model of these sizes is at hand. It is
    made once.
    """
    if size is None:
        return default_model()
    folder = cache_folder() / "models" / f"random-{size}"
    if folder.is_dir():
        return folder
    from transformers import BertConfig, BertForSequenceClassification  # noqa: PLC0415 - seconds, mostly not needed

    source, making = default_model(), folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(source, making, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(0)
    config = {**json.loads((source / "config.json").read_text()), **SIZES[size]}
    BertForSequenceClassification(BertConfig.from_dict(config)).save_pretrained(making)
    return making.rename(folder)


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
