"""The internal port's routes: the probes that count, /state, /metrics, and the operator's trial of a revision."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import ClientDisconnect

from reranker_worker.errors import RequestError
from reranker_worker.reconciling.samples import samples_document
from reranker_worker.serving import ScoreRequest, ScoreResult
from reranker_worker.settings import HttpLimits
from reranker_worker.web.dialects.calls import Bounds, json_object, json_reply
from reranker_worker.web.dialects.rerank import RERANK
from reranker_worker.web.disconnects import unless_client_gone
from reranker_worker.web.exchange import CLIENT_GONE, response, whole_body
from reranker_worker.web.schemas import TrialBody
from reranker_worker.worker import Worker

_JSON = "application/json"


@dataclass(frozen=True)
class InternalRoutes:
    """Tells the kubelet, the operator and Prometheus how the worker is."""

    worker: Worker
    limits: HttpLimits

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/livez", self.livez, methods=["GET"])
        router.add_api_route("/readyz", self.readyz, methods=["GET"])
        router.add_api_route("/state", self.state, methods=["GET"])
        router.add_api_route("/metrics", self.metrics, methods=["GET"])
        router.add_api_route("/score", self.score, methods=["POST"])
        router.add_api_route("/samples", self.samples, methods=["GET"])
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
        encode, content_type = _encoder(request.headers.get("accept", ""))
        return Response(encode(self.worker.metrics.registry), headers={"content-type": content_type})

    async def score(self, request: Request) -> Response:
        """Score documents with any revision in memory: the gate's look at a candidate that clients can't reach."""
        try:
            trial = _trial(await whole_body(request), Bounds(self.limits.max_documents, self.limits.max_characters))
            result = await unless_client_gone(request, self._tried(trial))
            reply = CLIENT_GONE if result is None else json_reply(200, _trial_document(result))
        except ClientDisconnect:
            reply = CLIENT_GONE
        except RequestError as error:
            reply = RERANK.render_error(error, error.message)
        return response(reply)

    async def samples(self, after: int = 0) -> Response:
        """Answer the requests that were kept for a candidate's comparison, beyond the number `after`."""
        return Response(samples_document(self.worker.reconciler.samples.after(after)), media_type=_JSON)

    async def _tried(self, trial: TrialBody) -> ScoreResult:
        return await self.worker.scorer.score(
            ScoreRequest(
                query=trial.query,
                documents=trial.documents,
                adapter=trial.adapter,
                deadline_s=self.worker.clock() + self.limits.request_timeout_s,
                revision=trial.revision,
                trial=True,
            )
        )


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except TypeError:  # the library compares whatever a client calls a version with numbers
        return choose_encoder("")


def _trial(body: bytes, bounds: Bounds) -> TrialBody:
    trial = bounds.validated(TrialBody, json_object(body))
    bounds.check([trial.query], trial.documents, param="documents")
    return trial


def _trial_document(result: ScoreResult) -> dict[str, object]:
    # Without the wait: how long other requests keep the device says nothing about this revision.
    return {
        "revision": result.revision,
        "adapterRevision": result.adapter_revision,
        "scores": result.scores,
        "milliseconds": result.tokenization_ms + result.inference_ms,
    }
