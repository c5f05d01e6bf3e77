"""Clients that ask what there is: OpenAI's list of models, Hugging Face's look at an endpoint."""

from huggingface_hub import InferenceClient
from openai import OpenAI

from tests.clients.client import Lister, Where


def openai(where: Where) -> list[str]:
    with OpenAI(api_key=where.key, base_url=f"{where.url}/v1") as client:
        listed = [model.id for model in client.models.list()]
        assert client.models.retrieve(listed[0]).id == listed[0]
    return listed


def hugging_face(where: Where) -> list[str]:
    client = InferenceClient(where.url, provider="hf-inference", token=where.key)
    return [str(client.get_endpoint_info()["model_id"])]


CLIENTS = ()
LISTERS = (
    Lister("OpenAI().models", "openai", openai, adapters=True),
    Lister("InferenceClient.get_endpoint_info", "huggingface_hub", hugging_face),
)
