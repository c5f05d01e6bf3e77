"""Whose an object is: only what our RerankerModel controls is ever written. No I/O."""

from reranker_operator import names
from reranker_operator.facts import Problem
from reranker_operator.names import Document
from reranker_operator.state import Kind, Model, World, child_name
from reranker_operator.v1alpha1 import API_VERSION, KIND


def owner_reference(model: Model) -> Document:
    """The controller reference by which the garbage collector deletes a child after its model."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": model.key.name,
        "uid": model.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller(live: Document) -> Document | None:
    """The controller's reference on an object, if it has one."""
    return next((o for o in live["metadata"].get("ownerReferences") or () if o.get("controller")), None)


def obstacle(world: World) -> Problem | None:
    """Why nothing may be written now: an object of a child's name that isn't this model's."""
    for kind, live in world.children.items():
        owner = controller(live)
        if owner is not None and owner["uid"] == world.model.uid:
            continue
        name = child_name(kind, world.model.key.name)
        if owner is not None and (owner["kind"], owner["name"]) == (KIND, world.model.key.name):
            message = f"{kind} {name} of the former {KIND} of this name is being deleted"
            return Problem("WaitingForDeletion", message, stalled=False)
        return Problem(
            "NameConflict",
            f"{kind} {name} exists and {_whose(owner)}: delete it or name the {KIND} differently; "
            "nothing is changed while it is there",
        )
    return None


def _whose(owner: Document | None) -> str:
    return "has no owner" if owner is None else f"belongs to {owner['kind']} {owner['name']}"


def stale(world: World) -> Kind | None:
    """A child that was written for a newer generation of the model than was read, if any."""
    from_newer = (k for k, live in world.children.items() if applied_generation(live) > world.model.generation)
    return next(from_newer, None)


def applied_generation(live: Document) -> int:
    """The model's generation that an object was last written for; 0 where it doesn't say."""
    text = (live["metadata"].get("annotations") or {}).get(names.GENERATION_ANNOTATION, "")
    return int(text) if text.isdecimal() else 0
