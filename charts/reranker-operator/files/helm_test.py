"""`helm test`: the operator answers and, where a model is named, the model ranks."""

import json
import os
import urllib.request


def answer(url: str, body: dict[str, object] | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return bytes(response.read())


operator, model = os.environ["OPERATOR_URL"], os.environ.get("MODEL_URL")
answer(f"{operator}/readyz")
print(f"{operator} is ready")
if model:
    documents = ["Bread is baked from flour, water and yeast.", "The capital of France is Paris."]
    ranking = json.loads(answer(f"{model}/v1/rerank", {"query": "What is France's capital?", "documents": documents}))
    for result in ranking["results"]:
        print(f"{result['relevance_score']:.4f}  {documents[result['index']]}")
    if sorted(result["index"] for result in ranking["results"]) != [0, 1]:
        raise SystemExit(f"{model} was sent 2 documents and ranked {len(ranking['results'])}")
