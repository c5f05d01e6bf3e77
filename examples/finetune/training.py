"""The training loop that the model and its adapters share: listwise and pointwise loss over groups of documents."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import BatchEncoding, BertForSequenceClassification, PreTrainedTokenizerBase

from examples.finetune.dataset import Question

MAX_LENGTH = 80  # tokens; what a package is stands in its first sentences, and the cost grows with the length
GROUPS_IN_A_STEP = 8
SORTED_STEPS = 16  # groups of this many steps are sorted by length together, which halves the padding


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn. The rate rises linearly for a tenth of the steps, then falls to zero."""

    steps: int
    rate: float
    head_rate: float

    def factor(self, step: int) -> float:
        """Return the share of the full rate that a step learns with."""
        rising = max(1, self.steps // 10)
        return min((step + 1) / rising, (self.steps - step) / (self.steps - rising))


def steps(groups: Sequence[Question], count: int, seed: int) -> Iterator[list[Question]]:
    """Yield that many steps of groups, shuffled anew for each pass, with groups of like length together."""
    draw = random.Random(seed)
    queue: list[list[Question]] = []
    for _ in range(count):
        if not queue:
            order = list(groups)
            draw.shuffle(order)
            for start in range(0, len(order) - GROUPS_IN_A_STEP + 1, GROUPS_IN_A_STEP * SORTED_STEPS):
                near = sorted(order[start : start + GROUPS_IN_A_STEP * SORTED_STEPS], key=_length)
                queue += [near[i : i + GROUPS_IN_A_STEP] for i in range(0, len(near), GROUPS_IN_A_STEP)]
            draw.shuffle(queue)
        yield queue.pop()


def _length(group: Question) -> int:
    return sum(min(len(document), 600) for document in group.documents)


def loss_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the loss of logits [groups, documents] whose first column is the right answer.

    The listwise part orders documents; the pointwise part keeps the sigmoid of a score readable as a probability.
    """
    first = torch.zeros(len(logits), dtype=torch.long)
    right = torch.zeros_like(logits)
    right[:, 0] = 1
    return nn.functional.cross_entropy(logits, first) + nn.functional.binary_cross_entropy_with_logits(logits, right)


def encoded(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], max_length: int) -> BatchEncoding:
    """Return a padded batch of (query, document) pairs; only the document is cut."""
    queries, documents = zip(*pairs, strict=True)
    batch: BatchEncoding = tokenizer(
        list(queries),
        list(documents),
        truncation="only_second",
        max_length=max_length,
        padding=True,
        return_tensors="pt",
    )
    return batch


def train(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Question],
    schedule: Schedule,
    after_step: Callable[[int], None] = lambda _: None,
    *,
    max_length: int = MAX_LENGTH,
) -> None:
    """Train what requires gradients in place; call `after_step` with the number of steps done."""
    model.train()
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    parameters = [
        {"params": [w for n, w in named if "classifier" not in n], "lr": schedule.rate},
        {"params": [w for n, w in named if "classifier" in n], "lr": schedule.head_rate},
    ]
    optimizer = torch.optim.AdamW([p for p in parameters if p["params"]], weight_decay=0.01)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor)
    started, total, right = time.monotonic(), 0.0, 0.0
    for number, step in enumerate(steps(groups, schedule.steps, seed=schedule.steps), start=1):
        pairs = [(group.query, document) for group in step for document in group.documents]
        logits = model(**encoded(tokenizer, pairs, max_length)).logits.view(len(step), -1)
        loss = loss_of(logits)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([weight for _, weight in named], 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        total += loss.item()
        right += (logits.argmax(dim=1) == 0).float().mean().item()
        if number % 20 == 0:
            elapsed = time.monotonic() - started
            print(f"step {number} loss {total / 20:.3f} first is right {right / 20:.3f} {elapsed:.0f} s", flush=True)
            total = right = 0.0
        after_step(number)
    model.eval()


def without_dropout(folder: str) -> BertForSequenceClassification:
    """Load a checkpoint for training; a single pass over real text is short enough to need no dropout."""
    return BertForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
