"""The two ASGI applications of a worker: the clients' and the internal one."""

from dataclasses import replace

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import TracerProvider
from starlette.exceptions import HTTPException

from reranker_worker.errors import MethodNotAllowed, NotFound, RequestError
from reranker_worker.settings import HttpLimits, ServeSettings
from reranker_worker.web.asgi import App, ClosingConnections, KeyFile, Keys, PlainPaths, Refuse
from reranker_worker.web.bodies import BodyBounds, LeftOvers
from reranker_worker.web.dialects import dialect_of
from reranker_worker.web.dialects.calls import Reply
from reranker_worker.web.exchange import response
from reranker_worker.web.internal_routes import InternalRoutes
from reranker_worker.web.playground import PATH as PLAYGROUND_PATH
from reranker_worker.web.routes import PAGES, ClientRoutes
from reranker_worker.worker import Worker

log = structlog.get_logger("worker")


#: FastAPI's own spans, metrics and logs of requests, whatever the environment says.
_UNTRACED: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def client_app(worker: Worker, settings: ServeSettings, traces: TracerProvider | None = None) -> App:
    """Return the application of the client port; where there are traces, each scoring request is a span."""
    api = _api("reranker-worker", _telemetry(traces))
    routes = ClientRoutes(worker, settings)
    api.include_router(routes.router())
    api.add_exception_handler(404, _no_such_route)
    api.add_exception_handler(405, _no_such_method)
    api.add_exception_handler(Exception, _broken)
    refuse = Refuse(routes.count_unread)
    app: App = BodyBounds(PlainPaths(api, PAGES), settings.max_body_bytes, settings.body_timeout_s, refuse)
    if settings.api_keys_file is not None:
        app = Keys(app, KeyFile(settings.api_keys_file), open_path=PLAYGROUND_PATH, refuse=refuse)
    app = LeftOvers(app, settings.max_body_bytes, settings.body_timeout_s)
    return ClosingConnections(app, lambda: worker.parting)


def internal_app(worker: Worker, limits: HttpLimits) -> App:
    """Return the application of the internal port."""
    api = _api("reranker-worker internal", _UNTRACED)
    api.include_router(InternalRoutes(worker, limits).router())
    uncounted = Refuse(lambda *_: None)
    app = BodyBounds(api, limits.max_body_bytes, limits.body_timeout_s, uncounted)
    return LeftOvers(app, limits.max_body_bytes, limits.body_timeout_s)


def _api(title: str, telemetry: TelemetryConfig) -> FastAPI:
    # A redirect would lead to whatever host a client names, by plain HTTP.
    return FastAPI(
        title=title, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, telemetry=telemetry
    )


def _telemetry(traces: TracerProvider | None) -> TelemetryConfig:
    if traces is None:
        return _UNTRACED
    # Probes and listings aren't worth a trace; FastAPI's logs could repeat what a client sent.
    return {
        **_UNTRACED,
        "tracing": True,
        "tracer_provider": traces,
        "operation_spans": False,
        "exclude": lambda scope: scope.get("method") != "POST",
    }


async def _no_such_route(request: Request, _: Exception) -> Response:
    return response(_error_reply(request, NotFound("there is no such path; POST /v1/rerank ranks documents")))


async def _no_such_method(request: Request, error: Exception) -> Response:
    allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    refusal = MethodNotAllowed(f"this path knows {allowed} alone; POST /v1/rerank ranks documents")
    reply = _error_reply(request, refusal)
    return response(replace(reply, headers={**reply.headers, "allow": allowed}))


async def _broken(request: Request, error: Exception) -> Response:
    # The type alone: a message or a traceback's values could repeat what a client sent.
    log.error("request broke", path=request.scope["path"], error=type(error).__name__)
    return response(_error_reply(request, RequestError("the request failed in the server")))


def _error_reply(request: Request, error: RequestError) -> Reply:
    return dialect_of(request.scope["path"]).render_error(error, error.message)
