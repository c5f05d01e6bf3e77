"""LlamaIndex: a retriever's nodes, postprocessed by the served reranker through the integration for TEI.

pip install llama-index-postprocessor-tei-rerank
python -m examples.two_stage_search.llama_index_search --url http://localhost:8080
"""

import argparse

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

from examples.two_stage_search.corpus import read, sharing_most_words

QUESTION = "cave surveying and mapping software"


def retrieved(query: str) -> list[NodeWithScore]:
    """Stand for any retriever."""
    found = sharing_most_words(read(), query)
    return [NodeWithScore(node=TextNode(text=text, id_=name), score=0.0) for name, text in found]


def main() -> None:
    """Print the three best packages for a question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--key", default="unused", help="where the worker wants one")
    args = parser.parse_args()

    reranker = TextEmbeddingInference(base_url=args.url, auth_token=args.key, top_n=3)
    for node in reranker.postprocess_nodes(retrieved(QUESTION), QueryBundle(QUESTION)):
        print(f"{node.score:.3f}  {node.node_id}")


if __name__ == "__main__":
    main()
