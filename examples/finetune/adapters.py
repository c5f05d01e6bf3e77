"""Train the two LoRA adapters on the assembled revision 2, in PEFT's format, 0.3 MB each.

`science` is a sequence-classification adapter: it brings its own classifier head. `names` is plain LoRA, for queries
that are package names.

python3 -m examples.finetune.adapters build/finetune/debian-search-2
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoTokenizer

from examples.finetune.assemble import MODELS
from examples.finetune.dataset import WORK, read
from examples.finetune.training import Schedule, train, without_dropout

RANK = 8
TARGETS = ["query", "value"]


@dataclass(frozen=True)
class Recipe:
    """What an adapter learns from, and whether it has a head of its own."""

    name: str
    schedule: Schedule
    own_head: bool

    @property
    def training_set(self) -> Path:
        """Return the file of its training groups."""
        return WORK / f"{self.name}-train.jsonl"

    def lora(self) -> LoraConfig:
        """Return PEFT's configuration."""
        head = {"task_type": TaskType.SEQ_CLS, "modules_to_save": ["classifier"]} if self.own_head else {}
        return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, lora_dropout=0.0, **head)


RECIPES = (
    Recipe("science", Schedule(steps=70, rate=1e-3, head_rate=5e-4), own_head=True),
    Recipe("names", Schedule(steps=70, rate=1e-3, head_rate=0.0), own_head=False),
)


def train_adapter(base: Path, recipe: Recipe, folder: Path) -> None:
    """Train one adapter and write it."""
    torch.manual_seed(0)
    model = get_peft_model(without_dropout(str(base)), recipe.lora())
    train(model, AutoTokenizer.from_pretrained(base), read(recipe.training_set), recipe.schedule)
    save(model, folder, "debian-search")


def save(model: PeftModel, folder: Path, base_name: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, the same for the same weights."""
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card, a form to fill in
    config_file = folder / "adapter_config.json"
    config = json.loads(config_file.read_text()) | {"base_model_name_or_path": base_name}
    config["target_modules"] = sorted(config["target_modules"])  # PEFT keeps a set, whose order differs by run
    config_file.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.2f} MB")


def main() -> None:
    """Train both adapters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="the assembled model folder to train on")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for recipe in RECIPES:
        train_adapter(args.base, recipe, MODELS / f"lora-{recipe.name}")


if __name__ == "__main__":
    main()
