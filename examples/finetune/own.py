"""Train a LoRA adapter on one's own judged pairs, for a cross-encoder with one score; say what it is worth.

python3 -m examples.finetune.own MODEL pairs.jsonl build/legal --golden build/golden.jsonl
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from examples.finetune.adapters import save
from examples.finetune.judged import Judged, golden, groups, read, split
from examples.finetune.quality import graded_ndcg
from examples.finetune.training import GROUPS_IN_A_STEP, Schedule, encoded, train


@dataclass(frozen=True)
class Recipe:
    """How large the adapter is, and how it learns. targets: names of linear layers, or all of them."""

    rank: int
    targets: str | list[str]
    schedule: Schedule
    max_length: int


def train_on(base: Path, judged: Sequence[Judged], held_out: Sequence[Judged], recipe: Recipe, folder: Path) -> None:
    """Train and write the adapter; print the held-out questions' nDCG@10 without it and with it."""
    learned = groups(judged)
    if len(learned) < GROUPS_IN_A_STEP:
        raise SystemExit(
            f"{len(judged)} queries to train on have {len(learned)} documents that are relevant beside one that is "
            f"less so; it takes {GROUPS_IN_A_STEP} at least, and some hundreds to learn from"
        )
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32)
    if model.config.num_labels != 1:
        raise SystemExit(f"{base} has {model.config.num_labels} labels; a cross-encoder with one score is wanted")
    before = quality(model, tokenizer, held_out, recipe.max_length)
    lora = LoraConfig(r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules=recipe.targets, lora_dropout=0.0)
    adapted = get_peft_model(model, lora)
    train(adapted, tokenizer, learned, recipe.schedule, max_length=recipe.max_length)
    after = quality(adapted, tokenizer, held_out, recipe.max_length)
    save(adapted, folder, base.name)
    print(f"nDCG@10 of {len(held_out)} held-out queries: {before:.3f} without the adapter, {after:.3f} with it")


def quality(model: nn.Module, tokenizer: PreTrainedTokenizerBase, judged: Sequence[Judged], max_length: int) -> float:
    """Return the mean nDCG@10."""
    model.eval()
    return fmean(graded_ndcg(each.relevance, scores(model, tokenizer, each, max_length)) for each in judged)


def scores(model: nn.Module, tokenizer: PreTrainedTokenizerBase, each: Judged, max_length: int) -> list[float]:
    """Return the logit of each document."""
    pairs = [(each.query, document) for document in each.documents]
    with torch.inference_mode():
        logits: list[float] = model(**encoded(tokenizer, pairs, max_length)).logits[:, 0].tolist()
    return logits


def main(argv: Sequence[str] | None = None) -> None:
    """Train one adapter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, metavar="MODEL", help="folder of the model that will serve the adapter")
    parser.add_argument("pairs", type=Path, help='lines of {"query": "…", "documents": ["…"], "relevance": [0]}')
    parser.add_argument("folder", type=Path, help="where the adapter is written")
    parser.add_argument("--golden", type=Path, help="write the held-out queries here, as a gate's golden set")
    parser.add_argument("--held-out", type=float, default=0.2, help="share of the queries that only judge (0.2)")
    parser.add_argument("--steps", type=int, default=200, help=f"of {GROUPS_IN_A_STEP} groups each (200)")
    parser.add_argument("--rate", type=float, default=5e-4, help="highest learning rate (0.0005)")
    parser.add_argument("--rank", type=int, default=8, help="the model's adapterPolicy.maxRank bounds it (8)")
    parser.add_argument("--targets", nargs="+", default=["all-linear"], help="linear layers, by name (all of them)")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a pair (256)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    judged, held_out = split(read(args.pairs), args.held_out)
    if not held_out:
        raise SystemExit(f"nothing of {args.pairs} is held out: judge more queries, or raise --held-out")
    targets = args.targets[0] if args.targets == ["all-linear"] else args.targets
    schedule = Schedule(steps=args.steps, rate=args.rate, head_rate=0.0)
    train_on(args.base, judged, held_out, Recipe(args.rank, targets, schedule, args.max_length), args.folder)
    if args.golden:
        args.golden.write_text(golden(held_out))


if __name__ == "__main__":
    main()
