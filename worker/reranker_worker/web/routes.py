"""The clients' HTTP routes: scoring in each dialect, the models, and health."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import ClientDisconnect

from reranker_worker import tracing
from reranker_worker.errors import NotFound, NotReady, RequestError
from reranker_worker.serving import CUT_AT_THE_END, ScoreRequest, ScoreResult
from reranker_worker.settings import HttpLimits
from reranker_worker.web.catalog import infinity_document, models_document, pinnable, resolve, sie_model
from reranker_worker.web.dialects import SCORE_PATH, dialect_of, rerank_dialect
from reranker_worker.web.dialects.calls import (
    REVISION_HEADER,
    Bounds,
    Dialect,
    Incoming,
    Reply,
    ScoreCall,
    Scored,
    json_reply,
    ranked,
)
from reranker_worker.web.dialects.rerank import RERANK
from reranker_worker.web.dialects.sie import SIE
from reranker_worker.web.dialects.vllm_score import VLLM_SCORE
from reranker_worker.web.dialects.voyage import VOYAGE
from reranker_worker.web.disconnects import unless_client_gone
from reranker_worker.web.exchange import CLIENT_GONE, response, whole_body
from reranker_worker.web.openapi import openapi_document
from reranker_worker.web.playground import PATH as PLAYGROUND_PATH
from reranker_worker.web.playground import playground_page
from reranker_worker.worker import Worker

_VERSION = version("reranker-worker")
_RETRY_HEALTH_S = 1.0
_DOCS_PATH = "/docs"
#: What people look at.
PAGES = (_DOCS_PATH, PLAYGROUND_PATH)
_BROKEN = Reply(500, b"")  # for the metrics: the application's own handler answers


@dataclass(frozen=True)
class ClientRoutes:
    """Answers clients with what the worker serves."""

    worker: Worker
    limits: HttpLimits

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
            router.add_api_route(path, self.rerank, methods=["POST"])
        router.add_api_route("/voyage/v1/rerank", self.voyage_rerank, methods=["POST"])
        for path in ("/score", "/v1/score"):
            router.add_api_route(path, self.score_texts, methods=["POST"])
        router.add_api_route(SCORE_PATH + "{model:path}", self.score, methods=["POST"])
        router.add_api_route("/v1/models", self.models, methods=["GET"])
        router.add_api_route("/models", self.infinity_models, methods=["GET"])
        router.add_api_route("/v1/models/{name:path}", self.model, methods=["GET"])
        router.add_api_route("/healthz", self.alive, methods=["GET"])
        router.add_api_route("/.well-known/live", self.alive, methods=["GET"])
        for path in ("/health", "/readyz", "/ping", "/.well-known/ready"):
            router.add_api_route(path, self.ready, methods=["GET"])
        for path in ("/info", "/meta"):
            router.add_api_route(path, self.info, methods=["GET"])
        router.add_api_route("/openapi.json", self.openapi, methods=["GET"])
        router.add_api_route(_DOCS_PATH, self.docs, methods=["GET"])
        router.add_api_route(PLAYGROUND_PATH, self.playground, methods=["GET"])
        return router

    async def rerank(self, request: Request) -> Response:
        """Rank documents for the clients of Cohere, Jina, vLLM, Voyage, TEI and Weaviate: the body tells which."""
        return await self._answer(rerank_dialect, request)

    async def voyage_rerank(self, request: Request) -> Response:
        """Rank documents for those of Voyage's clients whose bodies can't be told from Cohere's."""
        return await self._answer(lambda _: VOYAGE, request)

    async def score_texts(self, request: Request) -> Response:
        """Score texts for vLLM's clients."""
        return await self._answer(lambda _: VLLM_SCORE, request)

    async def score(self, request: Request, model: str) -> Response:
        """Score items for the SIE SDK."""
        return await self._answer(lambda _: SIE, request, model)

    async def models(self) -> Response:
        """List the model and its adapters."""
        document = models_document(self.worker.observation.world, self.worker.started_s)
        return response(json_reply(200, document))

    async def infinity_models(self) -> Response:
        """List them for Infinity's clients."""
        document = infinity_document(self.worker.observation.world, self.worker.started_s, self.worker.scorer.queue)
        return response(json_reply(200, document))

    async def model(self, name: str) -> Response:
        """Describe one model or adapter."""
        document = models_document(self.worker.observation.world, self.worker.started_s)
        entry = next((entry for entry in document["data"] if entry["id"] == name), None)
        if entry is None:
            error = NotFound("no model by that name is served here; see /v1/models")
            return response(RERANK.render_error(error, error.message))
        return response(json_reply(200, entry))

    async def info(self) -> Response:
        """Say what is served and how long its pairs may be."""
        world = self.worker.observation.world
        if world.manifest is None:
            return response(_not_ready("no model is configured yet"))
        described = sie_model(world.manifest, world)
        return response(
            json_reply(
                200,
                {
                    "model_id": world.manifest.served_name,
                    "revision": world.served.model,
                    "revisions": pinnable(world),
                    "adapters": dict(world.served.adapters),
                    "model_type": {"reranker": {}},
                    "max_input_length": described["max_sequence_length"],
                    "max_client_batch_size": self.limits.max_documents,
                    "version": _VERSION,
                },
            )
        )

    async def openapi(self) -> Response:
        """Describe all this to machines."""
        return response(json_reply(200, openapi_document(_VERSION)))

    async def docs(self) -> Response:
        """Describe it to people; the page's scripts come from where FastAPI's do."""
        return get_swagger_ui_html(openapi_url="openapi.json", title="reranker-worker")

    async def playground(self) -> Response:
        """Answer people with a page to try the model on, where the manifest says so."""
        manifest = self.worker.observation.world.manifest
        if manifest is not None and manifest.playground:
            return response(playground_page())
        error = NotFound(
            f"{PLAYGROUND_PATH} is off here; the model's spec.playground or serve's --playground turns it on"
        )
        return response(RERANK.render_error(error, error.message))

    async def alive(self) -> Response:
        """Answer as long as the process does."""
        return response(json_reply(200, {"status": "ok"}))

    async def ready(self) -> Response:
        """Answer 200 only while requests can be scored here."""
        state = self.worker.state()
        return response(json_reply(200, {"status": "ok"}) if state.ready else _not_ready(state.message))

    async def _answer(
        self, choose: Callable[[Incoming], Dialect], request: Request, path_model: str | None = None
    ) -> Response:
        started_s = self.worker.clock()
        dialect = dialect_of(request.scope["path"])  # until the body tells
        try:
            incoming = await _incoming(request, path_model)
            dialect = choose(incoming)
            call = dialect.parse(incoming, self._bounds())
            del incoming  # a body and what it was parsed to, several times as large, aren't needed to score it
            pin = request.headers.get(REVISION_HEADER)
            scored = await unless_client_gone(request, self._scored(call, pin, started_s))
            reply = dialect.render(call, scored) if scored is not None else CLIENT_GONE
        except ClientDisconnect:
            reply = CLIENT_GONE
        except RequestError as error:
            reply = dialect.render_error(error, error.message)
            self._count_refusal(error)
            tracing.annotate({"reranker.refusal": error.reason})
        except Exception:
            self._measure(dialect, _BROKEN, started_s)
            raise
        self._measure(dialect, reply, started_s)
        return response(reply)

    async def _scored(self, call: ScoreCall, pin: str | None, started_s: float) -> Scored:
        resolved = resolve(self.worker.observation.world, call.model, call.adapter, pin)
        request = ScoreRequest(
            query=call.query,
            documents=call.documents,
            adapter=resolved.adapter,
            raw_scores=call.raw_scores,
            deadline_s=started_s + self.limits.request_timeout_s,
            revision=pin,
            instruction=call.instruction,
            truncation=call.truncation,
            paired_queries=call.paired_queries,
        )
        result = await self.worker.scorer.score(request)
        self._sample(call, resolved.adapter, result)
        scored_by = (result.revision, result.adapter_revision or "")
        self.worker.metrics.answered_pairs.labels(*scored_by).inc(len(result.scores))
        self.worker.metrics.truncated_documents.labels(*scored_by).inc(result.truncated)
        tracing.annotate(_described(resolved.model, result))
        total_ms = (self.worker.clock() - started_s) * 1000
        return Scored(resolved.model, ranked(result.scores, call.top_n), result, total_ms)

    def _sample(self, call: ScoreCall, adapter: str | None, result: ScoreResult) -> None:
        """Keep a copy for the operator, of what a trial on the internal port can ask in the same way."""
        if not (call.paired_queries or call.instruction or call.truncation != CUT_AT_THE_END):
            self.worker.reconciler.samples.offer(call.query, call.documents, adapter, result)

    def _bounds(self) -> Bounds:
        return Bounds(self.limits.max_documents, self.limits.max_characters)

    def count_unread(self, method: str, dialect: Dialect, reply: Reply, error: RequestError) -> None:
        """Count a request that was refused before its body was read; those for scores are all posted."""
        if method == "POST":
            self._count(dialect, reply)
        self._count_refusal(error)

    def _measure(self, dialect: Dialect, reply: Reply, started_s: float) -> None:
        self._count(dialect, reply)
        self.worker.metrics.request_duration.observe(self.worker.clock() - started_s)

    def _count(self, dialect: Dialect, reply: Reply) -> None:
        manifest = self.worker.observation.world.manifest
        model = manifest.served_name if manifest is not None else ""
        revision = reply.headers.get(REVISION_HEADER, "")
        self.worker.metrics.requests.labels(model, dialect.api, str(reply.status), revision).inc()

    def _count_refusal(self, error: RequestError) -> None:
        self.worker.metrics.refusals.labels(error.reason).inc()


async def _incoming(request: Request, path_model: str | None) -> Incoming:
    return Incoming(
        body=await whole_body(request),
        path_model=path_model,
        content_type=request.headers.get("content-type", "application/json"),
        accept=request.headers.get("accept", "*/*"),
    )


def _described(model: str, result: ScoreResult) -> dict[str, str | int]:
    """Return what a span tells of an answer: what scored it and how much it was, never a text."""
    return {
        "reranker.model": model,
        "reranker.revision": result.revision,
        "reranker.adapter": result.adapter_revision or "",
        "reranker.documents": len(result.scores),
        "reranker.tokens": result.tokens,
    }


def _not_ready(message: str) -> Reply:
    error = NotReady(message, retry_after_s=_RETRY_HEALTH_S)
    return RERANK.render_error(error, message)
