"""What the routes of both ports read requests and give answers by."""

from fastapi import Request, Response

from reranker_worker.web.dialects.calls import Reply

CLIENT_GONE = Reply(499, b"")
"""Nobody reads it; nginx's code, for the metrics."""


async def whole_body(request: Request) -> bytes:
    """Return the request's body, which request.body() would keep for as long as the request is scored."""
    return b"".join([part async for part in request.stream()])


def response(reply: Reply) -> Response:
    """Return a dialect's answer as the server sends it."""
    return Response(reply.body, reply.status, dict(reply.headers), reply.media_type)
