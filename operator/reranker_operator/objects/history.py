"""A model's revision as a ControllerRevision, written and read. No I/O."""

from reranker_operator.objects.ownership import controller, owner_reference
from reranker_operator.world import names
from reranker_operator.world.names import Document
from reranker_operator.world.state import ManifestModel, Model, Past


def past(live: Document, uid: str) -> Past | None:
    """A ControllerRevision of the model with that UID; None for another's, or one without our data."""
    owner, data = controller(live), live.get("data") or {}
    if owner is None or owner["uid"] != uid or not {"source", "engine"} <= data.keys():
        return None
    model = ManifestModel(live["metadata"]["name"], dict(data["source"]), dict(data["engine"]))
    return Past(model, int(live["revision"]), live)


def controller_revision(owner: Model, model: ManifestModel, number: int) -> Document:
    """What made the scores of a revision. The API server lets nobody change its data."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": model.revision,
            "namespace": owner.key.namespace,
            "labels": names.labels(owner.key.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"source": model.source, "engine": model.engine},
        "revision": number,
    }
