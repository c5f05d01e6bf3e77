"""What can't be served is refused with words that help, and what served before goes on serving."""

from collections.abc import Iterator

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import Object, condition, eventually

pytestmark = pytest.mark.e2e

DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def spoilt(installed: Fleet) -> Iterator[Model]:
    """A model to be spoilt by each test."""
    model = installed.model("spoilt", "bert-1")
    yield model
    model.kube("delete", "rerankermodel", model.name, "--wait=false")


@pytest.fixture
def serving(spoilt: Model) -> Model:
    """The model as it serves when nothing is wrong."""
    spoilt.patch({"source": {"uri": "pvc://models/bert-1", "digest": None}, "adapters": []})
    spoilt.wait_ready()
    return spoilt


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        pytest.param({"uri": "pvc://models/nowhere"}, "SourceNotFound", "nowhere", id="no such folder"),
        pytest.param({"uri": "pvc://models/bert-2", "digest": DIGEST}, "DigestMismatch", DIGEST, id="wrong digest"),
        pytest.param({"uri": "pvc://models/pickled"}, "PickledWeights", "safetensors", id="pickled weights"),
        pytest.param({"uri": "pvc://models/headless"}, "MissingHead", "classifier", id="no trained head"),
        pytest.param({"uri": "pvc://models/remote-code"}, "RemoteCode", "auto_map", id="needs remote code"),
        pytest.param({"uri": "pvc://models/lora-1"}, "InvalidCheckpoint", "config.json", id="an adapter as a model"),
    ],
)
def test_a_bad_revision_stalls_with_its_reason_while_the_old_one_serves(
    fleet: Fleet, serving: Model, source: Object, reason: str, words: str
) -> None:
    before = serving.status["revisions"]["serving"]["name"]
    serving.patch({"source": {"digest": None, **source}})
    stalled = eventually(lambda: _stalled(serving, reason), what=f"Stalled with {reason}")
    assert words in stalled["message"]
    assert condition(serving.resource(), "Available")["status"] == "True"
    assert condition(serving.resource(), "Ready")["status"] == "False"
    reply = serving.rerank()
    assert reply.revision == before
    assert reply.scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-3)


@pytest.mark.parametrize(
    ("folder", "reason", "words"),
    [
        pytest.param("lora-wide", "AdapterBaseMismatch", "128", id="made for another base"),
        pytest.param("bert-2", "InvalidAdapter", "adapter_config.json", id="a model as an adapter"),
        pytest.param("nowhere", "SourceNotFound", "nowhere", id="no such folder"),
    ],
)
def test_a_bad_adapter_fails_alone(fleet: Fleet, serving: Model, folder: str, reason: str, words: str) -> None:
    good = {"name": "good", "source": {"uri": "pvc://models/lora-1"}}
    serving.patch({"adapters": [good, {"name": "bad", "source": {"uri": f"pvc://models/{folder}"}}]})
    adapters = eventually(lambda: _failed_adapter(serving, "bad", reason), what=f"the adapter fails with {reason}")
    assert words in adapters["bad"]["message"]
    assert adapters["good"]["ready"] == 1
    assert condition(serving.resource(), "AdaptersReady")["status"] == "False"
    expected = fleet.artifacts.scores("bert-1", "lora-1")
    assert serving.rerank(adapter="good").scores == pytest.approx(expected, abs=1e-3)
    refused = serving.rerank(adapter="bad")
    assert refused.status == 404
    assert "good" in refused.json["message"]


def test_bad_weights_under_a_known_name_leave_the_adapter_that_serves(fleet: Fleet, serving: Model) -> None:
    adapter = {"name": "legal", "source": {"uri": "pvc://models/lora-1"}}
    serving.patch({"adapters": [adapter]})
    serving.wait_ready()
    serving.patch({"adapters": [{"name": "legal", "source": {"uri": "pvc://models/lora-wide"}}]})
    eventually(lambda: _failed_adapter(serving, "legal", "AdapterBaseMismatch"), what="the new weights are refused")
    expected = fleet.artifacts.scores("bert-1", "lora-1")
    assert serving.rerank(adapter="legal").scores == pytest.approx(expected, abs=1e-3)


def test_an_invalid_spec_is_refused_at_apply(fleet: Fleet, serving: Model) -> None:
    generation = serving.resource()["metadata"]["generation"]
    with pytest.raises(AssertionError, match="hf://"):
        serving.patch({"source": {"uri": "ftp://models/bert-1"}})
    assert serving.resource()["metadata"]["generation"] == generation


def _stalled(model: Model, reason: str) -> Object | None:
    found = condition(model.resource(), "Stalled")
    return found if (found["status"], found["reason"]) == ("True", reason) else None


def _failed_adapter(model: Model, name: str, reason: str) -> dict[str, Object] | None:
    adapters = {adapter["name"]: adapter for adapter in model.status.get("adapters", [])}
    return adapters if adapters.get(name, {}).get("reason") == reason else None
