"""LangChain: a retriever's documents, compressed by the served reranker through Cohere's integration.

pip install langchain-cohere
python -m examples.two_stage_search.langchain_search --url http://localhost:8080 --model acme/debian-search
"""

import argparse

from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from examples.two_stage_search.corpus import read, sharing_most_words

QUESTION = "cave surveying and mapping software"


def retrieved(query: str) -> list[Document]:
    """Stand for any retriever."""
    return [Document(text, metadata={"name": name}) for name, text in sharing_most_words(read(), query)]


def main() -> None:
    """Print the three best packages for a question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--model", required=True, help="its served name, or <name>:<adapter>")
    parser.add_argument("--key", default="unused", help="where the worker wants one")
    args = parser.parse_args()

    reranker = CohereRerank(base_url=args.url, cohere_api_key=args.key, model=args.model, top_n=3)
    search = RunnableLambda(lambda query: reranker.compress_documents(retrieved(query), query))
    for document in search.invoke(QUESTION):
        print(f"{document.metadata['relevance_score']:.3f}  {document.metadata['name']}")


if __name__ == "__main__":
    main()
