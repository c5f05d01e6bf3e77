"""When the API server is asked about image volumes, and what is made of its answers; it is a script here."""

import asyncio
from collections.abc import Sequence
from unittest.mock import AsyncMock

import pytest

from reranker_operator.api import Api
from reranker_operator.discovery import ABSENCE_KEPT_S, Discovery
from reranker_operator.errors import OperatorError, Refused, Unreachable
from reranker_operator.world.names import Document

KEPT = {"name": "probe", "image": {"reference": "probe", "pullPolicy": "Always"}}
DENIED = Refused("POST deployments", 403, "admission webhook denied the request: no limits")


def deployment(*volumes: Document) -> Document:
    """What a dry run answers where these of its volumes are kept."""
    return {"spec": {"template": {"spec": {"volumes": list(volumes)}}}}


def asked(answers: Sequence[Document | OperatorError], *at_s: float) -> list[bool]:
    """Ask at these times, in seconds, an API server that gives these answers, each of which has to be called for."""
    api = AsyncMock(spec=Api)
    api.create.side_effect = answers
    clock = [0.0]
    discovery = Discovery(api, lambda: clock[0])

    async def ask() -> list[bool]:
        found = []
        for clock[0] in at_s:
            found.append(await discovery.image_volumes("search"))
        return found

    found = asyncio.run(ask())
    assert [call.kwargs["dry_run"] for call in api.create.await_args_list] == [True] * len(answers)
    return found


def test_image_volumes_that_are_there_are_asked_for_once() -> None:
    assert asked([deployment(KEPT)], 0, 1, 10 * ABSENCE_KEPT_S) == [True, True, True]


def test_image_volumes_that_are_dropped_are_asked_for_again_after_a_while() -> None:
    assert asked([deployment(), deployment(KEPT)], 0, ABSENCE_KEPT_S - 1, ABSENCE_KEPT_S) == [False, False, True]


def test_a_webhook_that_takes_no_such_deployment_leaves_the_files_to_the_worker() -> None:
    assert asked([DENIED], 0, 1) == [False, False]


@pytest.mark.parametrize("outage", [Unreachable("no answer"), Refused("POST deployments", 503, "no leader")])
def test_an_outage_decides_nothing(outage: OperatorError) -> None:
    with pytest.raises(type(outage)):
        asked([outage], 0)
