"""Two-stage search: BM25 finds candidates in the corpus, a served reranker orders them; nDCG before and after.

pip install bm25s
python -m examples.two_stage_search.search --url http://localhost:8080
"""

import argparse
import json
import urllib.request
from collections.abc import Sequence

import bm25s

from examples.two_stage_search.corpus import CUTOFF, Corpus, ndcg, read


def first_stage(corpus: Corpus, candidates: int) -> list[list[int]]:
    """Return for each question the numbers of the documents that BM25 puts first."""
    index = bm25s.BM25()
    index.index(bm25s.tokenize(corpus.texts, stopwords="en", show_progress=False), show_progress=False)
    asked = bm25s.tokenize([query for query, _ in corpus.questions], stopwords="en", show_progress=False)
    found, _ = index.retrieve(asked, k=candidates, show_progress=False)
    return [[int(number) for number in row] for row in found]


def rerank(url: str, key: str, query: str, documents: Sequence[str]) -> list[int]:
    """Return the numbers of the documents, best first, as the served model has them."""
    body = json.dumps({"query": query, "documents": list(documents)}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/rerank", body, headers), timeout=300) as answer:
        return [result["index"] for result in json.load(answer)["results"]]


def main() -> None:
    """Search for all questions and print how good both orders are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8080", help="the model's Service")
    parser.add_argument("--key", default="", help="where the worker wants one")
    parser.add_argument("--candidates", type=int, default=20, help="documents of the first stage")
    parser.add_argument("--questions", type=int, help="only so many of them")
    args = parser.parse_args()
    corpus = read()
    found = first_stage(corpus, args.candidates)[: args.questions]
    before, after = [], []
    for (query, _), numbers in zip(corpus.questions, found, strict=False):
        order = rerank(args.url, args.key, query, [corpus.texts[number] for number in numbers])
        before.append([corpus.names[number] for number in numbers])
        after.append([corpus.names[numbers[place]] for place in order])
    relevant = [name for _, name in corpus.questions[: len(found)]]
    print(f"{len(found)} questions, {len(corpus.texts)} documents, {args.candidates} candidates each")
    print(f"nDCG@{CUTOFF}: BM25 {ndcg(before, relevant):.3f}, reranked {ndcg(after, relevant):.3f}")


if __name__ == "__main__":
    main()
