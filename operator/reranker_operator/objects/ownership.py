"""Whose an object is: only what our RerankerModel controls is ever written. No I/O."""

from dataclasses import replace

from reranker_operator.resources.v1alpha1 import API_VERSION, KIND
from reranker_operator.world import names
from reranker_operator.world.colours import Colour
from reranker_operator.world.facts import Problem
from reranker_operator.world.fleet import last_flip
from reranker_operator.world.names import Document
from reranker_operator.world.state import ACCESSORIES, Kind, Model, World, child_name

#: The API server, or a webhook behind it, doesn't take an object as it should be.
REFUSED = "Refused"


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


def metadata(model: Model, kind: Kind) -> Document:
    """What every child has: its name and place, the common labels, its owner."""
    return {
        "name": child_name(kind, model.key.name),
        "namespace": model.key.namespace,
        "labels": names.labels(model.key.name),
        "ownerReferences": [owner_reference(model)],
    }


def controller(live: Document) -> Document | None:
    """The controller's reference on an object, if it has one."""
    return next((o for o in live["metadata"].get("ownerReferences") or () if o.get("controller")), None)


def obstacle(world: World) -> Problem | None:
    """Why nothing may be written now: an object of a child's name that isn't this model's."""
    needed = (kind for kind in world.children if kind not in ACCESSORIES)
    problem = next((found for kind in needed if (found := conflict(world, kind)) is not None), None)
    if problem is None or not problem.stalled:
        return problem
    return replace(problem, message=f"{problem.message}; nothing is changed while it is there")


def conflict(world: World, kind: Kind) -> Problem | None:
    """Why a child may not be written; None where it is this model's, or absent."""
    live, model = world.children.get(kind), world.model
    owner = controller(live) if live is not None else None
    if live is None or (owner is not None and owner["uid"] == model.uid):
        return None
    name = child_name(kind, model.key.name)
    if owner is not None and (owner["kind"], owner["name"]) == (KIND, model.key.name):
        message = f"{kind} {name} of the former {KIND} of this name is being deleted"
        return Problem("WaitingForDeletion", message, stalled=False)
    return Problem(
        "NameConflict", f"{kind} {name} exists and {_whose(owner)}: delete it or name the {KIND} differently"
    )


def without_strange_fleet(world: World) -> World:
    """The world without a Deployment of the second fleet's name that isn't this model's, where it is in nobody's way.

    It may be that of another model, which is named as this one's second fleet would be.
    """
    here = last_flip(world).active is Colour.BLUE and world.model.spec.rollout.strategy != "BlueGreen"
    if not here or conflict(world, Kind.GREEN_DEPLOYMENT) is None:
        return world
    ours: dict[Kind, Document] = {
        kind: live for kind, live in world.children.items() if kind is not Kind.GREEN_DEPLOYMENT
    }
    return replace(world, children=ours)


def accessory_problem(world: World, *kinds: Kind) -> Problem | None:
    """Why one of these isn't as it should be: it is somebody else's, or the API server refuses it."""
    for kind in kinds:
        if (found := conflict(world, kind)) is not None:
            return found
        if kind in world.refused:
            return Problem(REFUSED, f"{kind} {child_name(kind, world.model.key.name)}: {world.refused[kind]}")
    return None


def _whose(owner: Document | None) -> str:
    return "has no owner" if owner is None else f"belongs to {owner['kind']} {owner['name']}"


def stale(world: World) -> Kind | None:
    """A child that was written for a newer generation of the model than was read, if any.

    Generations are counted anew for each model: a former one's of this name say nothing of this one's.
    """
    ours = ((kind, live) for kind, live in world.children.items() if conflict(world, kind) is None)
    return next((kind for kind, live in ours if applied_generation(live) > world.model.generation), None)


def applied_generation(live: Document) -> int:
    """The model's generation that an object was last written for; 0 where it doesn't say."""
    text = (live["metadata"].get("annotations") or {}).get(names.GENERATION_ANNOTATION, "")
    return int(text) if text.isdecimal() else 0
