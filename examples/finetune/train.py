"""Fine-tune all-MiniLM-L6-v2 into a cross-encoder for package descriptions; keep a half-way and a final checkpoint.

python3 -m examples.finetune.train    (about 20 minutes of one core)
"""

import argparse

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from examples.finetune.assemble import base_folder
from examples.finetune.dataset import WORK, read
from examples.finetune.training import Schedule, train, without_dropout

SCHEDULE = Schedule(steps=480, rate=2e-4, head_rate=1e-3)
CHECKPOINTS = {200: "debian-search-1.safetensors", 480: "debian-search-2.safetensors"}


def main() -> None:
    """Train and write both checkpoints, whole and in fp32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    base = str(base_folder())
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = without_dropout(base)
    # The word embeddings are half of the weights and know more words than these descriptions use: they stay.
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)

    def checkpoint(step: int) -> None:
        if step in CHECKPOINTS:
            weights = {name: weight.detach().contiguous().clone() for name, weight in model.state_dict().items()}
            save_file(weights, WORK / CHECKPOINTS[step])
            print(f"{WORK / CHECKPOINTS[step]} written at step {step}", flush=True)

    train(model, tokenizer, read(WORK / "train.jsonl"), SCHEDULE, checkpoint)


if __name__ == "__main__":
    main()
