"""LangChain's document compressors: Cohere's."""

from langchain_cohere import CohereRerank
from langchain_core.documents import Document

from tests.clients.bindings.cohere_sdk import REFUSALS
from tests.clients.client import Ask, Client, Ranking


def cohere_rerank(ask: Ask) -> Ranking:
    compressor = CohereRerank(cohere_api_key=ask.key, base_url=ask.url, model=ask.model, top_n=len(ask.documents))
    documents = [Document(text, metadata={"number": number}) for number, text in enumerate(ask.documents)]
    compressed = compressor.compress_documents(documents, ask.query)
    return [(document.metadata["number"], document.metadata["relevance_score"]) for document in compressed]


CLIENTS = (Client("CohereRerank", "langchain-cohere", cohere_rerank, REFUSALS),)
