"""Requests that the pages show are answered by the client port."""

import json
import re

import httpx
import pytest

from hack.docs.code import SHELL, everything
from tests.fixtures.client_port import MANIFEST

CURL = re.compile(r"curl [^\n]*?http://[^/\s]+(?P<path>/\S+)(?P<flags>[^\n]*?) -d '(?P<body>\{.*?\})'", re.DOTALL)
REQUESTS = [
    (piece.where, *found.group("path", "flags", "body"))
    for piece in everything()
    if piece.language in SHELL
    for found in CURL.finditer(piece.text)
]


def test_pages_show_requests() -> None:
    assert len(REQUESTS) > 2


@pytest.mark.parametrize(("where", "path", "flags", "body"), REQUESTS, ids=[where for where, *_ in REQUESTS])
async def test_a_shown_request_is_answered(
    where: str, path: str, flags: str, body: str, client: httpx.AsyncClient
) -> None:
    request = json.loads(body)
    adapter = request.get("model", "").partition(":")[2]
    if "model" in request:  # the pages' models have names of their own
        request["model"] = f"{MANIFEST.served_name}:{adapter}" if adapter else MANIFEST.served_name
    sent_as = "application/json" if "Content-Type: application/json" in flags else "application/x-www-form-urlencoded"
    answer = await client.post(path, content=json.dumps(request), headers={"content-type": sent_as})
    assert answer.status_code == 200, answer.text
    assert {each["index"] for each in answer.json()["results"]} <= set(range(len(request["documents"])))
    assert answer.headers["x-reranker-revision"]
    assert bool(adapter) == ("x-reranker-adapter" in answer.headers)
