"""On which nodes pods may run: what the model says, and what the administrator says of GPUs. No I/O."""

from collections.abc import Iterable, Sequence

from reranker_operator.resources.placement import Toleration
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.settings import Settings
from reranker_operator.world.names import Document

_GPUS = ("nvidia.com/gpu", "nvidia.com/mig-")
"""A whole GPU, and the beginning of the names of parts of one."""


def on_gpu(amounts: Iterable[str]) -> bool:
    """Tell whether the resources of these names are, or hold, a GPU or a part of one."""
    return any(name.startswith(_GPUS) for name in amounts)


def placed(spec: RerankerModelSpec, settings: Settings) -> Document:
    """The members of a pod's spec that choose its nodes, and how it runs there; only those that say something."""
    with_gpu = on_gpu(spec.resources.limits)
    selector = {**(settings.gpu_node_selector if with_gpu else {}), **spec.node_selector}
    tolerations = _together(spec.tolerations, settings.gpu_tolerations if with_gpu else [])
    members = {
        "nodeSelector": selector,
        "tolerations": tolerations,
        "priorityClassName": settings.worker_priority_class,
        "runtimeClassName": settings.gpu_runtime_class if with_gpu else "",
    }
    return {member: value for member, value in members.items() if value}


def _together(own: Sequence[Toleration], more: Sequence[Toleration]) -> list[Document]:
    return [t.model_dump(by_alias=True, exclude_none=True) for t in (*own, *(t for t in more if t not in own))]
