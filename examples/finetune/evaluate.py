"""Compare BM25, the untuned base, both revisions and the adapters on held-out questions: MRR@10 and nDCG@10.

python3 -m examples.finetune.evaluate build/finetune
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModel, AutoTokenizer, BertForSequenceClassification, PreTrainedTokenizerBase

from examples.finetune.assemble import MODELS, base_folder
from examples.finetune.dataset import WORK, Question, read
from examples.finetune.quality import mrr, ndcg, rank_of
from examples.finetune.training import encoded

Scorer = Callable[[str, Sequence[str]], list[float]]


def first_stage(_query: str, documents: Sequence[str]) -> list[float]:
    """Score by the order that BM25 gave."""
    return [-float(place) for place in range(len(documents))]


def bi_encoder(folder: Path, max_length: int) -> Scorer:
    """Return the base as it was made: cosine of mean-pooled embeddings."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)

    def score(query: str, documents: Sequence[str]) -> list[float]:
        texts = [query, *documents]
        batch = tokenizer(texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
        mask = batch["attention_mask"].unsqueeze(-1)
        with torch.inference_mode():
            pooled = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        unit = nn.functional.normalize(pooled, dim=1)
        scores: list[float] = (unit[1:] @ unit[0]).tolist()
        return scores

    return score


def cross_encoder(folder: Path, max_length: int, adapter: Path | None = None) -> Scorer:
    """Return a model folder's own scores, with an adapter if given."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    model: nn.Module = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    model.eval()

    def score(query: str, documents: Sequence[str]) -> list[float]:
        with torch.inference_mode():
            logits = model(**encoded(tokenizer, [(query, document) for document in documents], max_length)).logits
        scores: list[float] = logits[:, 0].tolist()
        return scores

    return score


def report(what: str, questions: Sequence[Question], scorer: Scorer) -> None:
    """Print one line of the comparison."""
    found = [question for question in questions if question.relevant >= 0]  # a missed one can't be reranked
    ranks: list[int | None] = [None] * (len(questions) - len(found))
    ranks += [rank_of(scorer(question.query, question.documents), question.relevant) for question in found]
    print(f"  {what:28} MRR@10 {mrr(ranks):.3f}  nDCG@10 {ndcg(ranks):.3f}", flush=True)


def main() -> None:
    """Print the whole comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds debian-search-1 and debian-search-2, assembled")
    parser.add_argument("--queries", type=int, default=200, help="at most this many of each set")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    first, second = args.folder / "debian-search-1", args.folder / "debian-search-2"
    for name, adapter in (("test", None), ("science-test", "lora-science"), ("names-test", "lora-names")):
        questions = read(WORK / f"{name}.jsonl")[: args.queries]
        print(f"{name}: {len(questions)} queries, {sum(q.relevant >= 0 for q in questions)} within reach")
        report("BM25", questions, first_stage)
        report("untuned bi-encoder", questions, bi_encoder(base_folder(), args.max_length))
        report("revision 1", questions, cross_encoder(first, args.max_length))
        report("revision 2", questions, cross_encoder(second, args.max_length))
        if adapter:
            for revision, folder in ((1, first), (2, second)):
                scorer = cross_encoder(folder, args.max_length, MODELS / adapter)
                report(f"revision {revision} with {adapter}", questions, scorer)


if __name__ == "__main__":
    main()
