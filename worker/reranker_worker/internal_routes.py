"""The internal port's routes: the probes that count, /state and /metrics."""

from dataclasses import dataclass

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from reranker_worker.worker import Worker

_JSON = "application/json"


@dataclass(frozen=True)
class InternalRoutes:
    """Tells the kubelet, the operator and Prometheus how the worker is."""

    worker: Worker

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/livez", self.livez, methods=["GET"])
        router.add_api_route("/readyz", self.readyz, methods=["GET"])
        router.add_api_route("/state", self.state, methods=["GET"])
        router.add_api_route("/metrics", self.metrics, methods=["GET"])
        return router

    async def livez(self) -> Response:
        """Answer 200 while the device thread and the reconciler give signs of life."""
        ailment = self.worker.ailment()
        return Response(ailment or "ok", 503 if ailment else 200, media_type="text/plain")

    async def readyz(self) -> Response:
        """Answer 200 while clients may be sent here."""
        state = self.worker.state()
        return Response("ok" if state.ready else state.message, 200 if state.ready else 503, media_type="text/plain")

    async def state(self) -> Response:
        """Answer the contract's document."""
        return Response(orjson.dumps(self.worker.state().document()), media_type=_JSON)

    async def metrics(self, request: Request) -> Response:
        """Answer Prometheus, in the format that it accepts."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self.worker.metrics.registry), headers={"content-type": content_type})
