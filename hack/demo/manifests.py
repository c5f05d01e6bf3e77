"""What the demo asks of its model: merge patches and a pin to a node. No I/O."""

from hack.stage.objects import Object, source

NAMESPACE = "reranker-demo"


def adapter_patch(name: str, folder: str, digest: str) -> Object:
    """Return the merge patch that adds an adapter to the model."""
    return {"spec": {"adapters": [{"name": name, "source": source(folder, digest)}]}}


def source_patch(folder: str, digest: str) -> Object:
    """Return the merge patch that swaps the model's revision."""
    return {"spec": {"source": source(folder, digest)}}


def pinned(model: Object, node: str) -> Object:
    """Return the model on one node: a ReadWriteOnce claim can be mounted on one node alone."""
    return model | {"spec": model["spec"] | {"nodeSelector": {"kubernetes.io/hostname": node}}}
