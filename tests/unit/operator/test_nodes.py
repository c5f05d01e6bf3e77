"""Where a model's pods may run, by what the model and the cluster's administrator say."""

from typing import Any

import pytest

from reranker_operator.objects.nodes import placed
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.settings import Settings

L4 = {"cloud.google.com/gke-accelerator": "nvidia-l4"}
GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists"}
ON_GPU = {"resources": {"limits": {"nvidia.com/gpu": 1}}}

SETTINGS = Settings.model_validate({"gpu_node_selector": L4, "gpu_tolerations": [GPU_TAINT]})
CLASSES = Settings(worker_priority_class="search", gpu_runtime_class="nvidia")

PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a model without a GPU goes anywhere": ({}, {}),
    "and keeps what it says itself": ({"nodeSelector": {"pool": "cpu"}}, {"nodeSelector": {"pool": "cpu"}}),
    "a model with one goes to the GPU nodes": (ON_GPU, {"nodeSelector": L4, "tolerations": [GPU_TAINT]}),
    "and so does one with a part of one": (
        {"resources": {"limits": {"nvidia.com/mig-1g.10gb": 1}}},
        {"nodeSelector": L4, "tolerations": [GPU_TAINT]},
    ),
    "where it may say more": (
        {**ON_GPU, "nodeSelector": {"zone": "a"}, "tolerations": [{"key": "spot", "operator": "Exists"}]},
        {
            "nodeSelector": {**L4, "zone": "a"},
            "tolerations": [{"key": "spot", "operator": "Exists"}, GPU_TAINT],
        },
    ),
    "or name another GPU": (
        {**ON_GPU, "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}},
        {"nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}, "tolerations": [GPU_TAINT]},
    ),
    "and a taint that both tolerate is tolerated once": (
        {**ON_GPU, "tolerations": [GPU_TAINT]},
        {"nodeSelector": L4, "tolerations": [GPU_TAINT]},
    ),
}


@pytest.mark.parametrize(("spec", "expected"), PLACES.values(), ids=PLACES.keys())
def test_pods_go_where_model_and_administrator_say(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    model = RerankerModelSpec.model_validate({"source": {"uri": "pvc://models/one"}, **spec})
    assert placed(model, SETTINGS) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({}, {"priorityClassName": "search"}), (ON_GPU, {"priorityClassName": "search", "runtimeClassName": "nvidia"})],
    ids=["without a GPU", "with one"],
)
def test_every_pod_has_the_priority_and_those_with_a_gpu_its_runtime(
    spec: dict[str, Any], expected: dict[str, Any]
) -> None:
    model = RerankerModelSpec.model_validate({"source": {"uri": "pvc://models/one"}, **spec})
    assert placed(model, CLASSES) == expected


def test_without_settings_a_model_s_own_words_are_all() -> None:
    model = RerankerModelSpec.model_validate({"source": {"uri": "pvc://models/one"}, **ON_GPU})
    assert placed(model, Settings()) == {}
