"""sentence-transformers behind FastAPI, as its users serve it; runs in an environment of its own."""

import argparse
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from sentence_transformers import CrossEncoder


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", required=True)
    options = parser.parse_args()
    model = CrossEncoder(
        options.model, device="cpu", max_length=512, model_kwargs={"dtype": getattr(torch, options.dtype)}
    )
    api = FastAPI()

    @api.post("/rerank")
    def rerank(body: dict[str, Any]) -> dict[str, Any]:
        pairs = [(body["query"], document) for document in body["documents"]]
        scores = model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return {"results": [{"index": i, "relevance_score": float(score)} for i, score in enumerate(scores)]}

    uvicorn.run(api, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
