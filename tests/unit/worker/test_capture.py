"""Which revision scores a request: what answers, what a client pins, what the operator tries. No engine."""

from types import SimpleNamespace
from typing import Any

import pytest

from reranker_worker.errors import InvalidRequest, NotFound, NotReady, RequestError, RevisionGone, RevisionUnknown
from reranker_worker.scoring.capture import captured
from reranker_worker.serving import EngineSettings, Held, LoadedAdapter, LoadedModel, ScoreRequest, Serving

PART: Any = SimpleNamespace()


def loaded(revision: str) -> LoadedModel:
    return LoadedModel(revision, PART, PART, EngineSettings(), 128, "cpu", "float32")


def held(revision: str, *, admitted: bool, adapter: str = "") -> Held:
    adapters = {"legal": LoadedAdapter("legal", adapter, PART)} if adapter else {}
    return Held(loaded(revision), adapters, admitted)


# m-1 answers; m-0 served before it and can be had; m-2 is tried by the operator.
SERVING = Serving(
    loaded("m-1"),
    {"legal": LoadedAdapter("legal", "legal-1", PART)},
    others={"m-0": held("m-0", admitted=True, adapter="legal-0"), "m-2": held("m-2", admitted=False)},
)
EMPTY = Serving(others={"m-2": held("m-2", admitted=False)})


def request(**members: Any) -> ScoreRequest:
    return ScoreRequest("q", **{"documents": ["a"]} | members)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param({}, ("m-1", None), id="what answers"),
        pytest.param({"adapter": "legal"}, ("m-1", "legal-1"), id="with its adapter"),
        pytest.param({"revision": "m-1"}, ("m-1", None), id="pinned to what answers"),
        pytest.param({"revision": "m-0"}, ("m-0", None), id="pinned to what served before"),
        pytest.param({"revision": "m-0", "adapter": "legal"}, ("m-0", "legal-0"), id="whose adapter is its own"),
        pytest.param({"revision": "m-2", "trial": True}, ("m-2", None), id="the operator tries what isn't admitted"),
        pytest.param({"revision": "m-1", "trial": True}, ("m-1", None), id="and what answers, to compare"),
    ],
)
def test_one_revision_scores_the_whole_request(members: dict[str, Any], expected: tuple[str, str | None]) -> None:
    model, adapter = captured(SERVING, request(**members), {"m-0", "m-1"})
    assert (model.revision, adapter and adapter.revision) == expected


@pytest.mark.parametrize(
    ("serving", "members", "error", "said"),
    [
        pytest.param(SERVING, {"revision": "m-2"}, RevisionUnknown, "may name m-1, m-0", id="pinned, not admitted"),
        pytest.param(SERVING, {"revision": "m-9"}, RevisionUnknown, "may name m-1, m-0", id="pinned, unknown"),
        pytest.param(SERVING, {"revision": "gone"}, RevisionGone, "may name m-1, m-0", id="pinned, served before"),
        pytest.param(EMPTY, {"revision": "m-2"}, RevisionUnknown, "may name none now", id="nothing is admitted"),
        pytest.param(EMPTY, {}, NotReady, "no model is ready", id="nothing answers"),
        pytest.param(
            SERVING, {"revision": "gone", "trial": True}, NotFound, "there is m-1, m-0, m-2", id="tried, gone"
        ),
        pytest.param(
            SERVING, {"revision": "m-2", "adapter": "legal", "trial": True}, NotFound, "adapter", id="adapter"
        ),
        pytest.param(SERVING, {"documents": []}, InvalidRequest, "documents is empty", id="no documents"),
    ],
)
def test_what_cannot_be_had_is_refused(
    serving: Serving, members: dict[str, Any], error: type[RequestError], said: str
) -> None:
    with pytest.raises(error) as refusal:
        captured(serving, request(**members), {"m-0", "m-1", "gone"})
    assert said in refusal.value.message
