"""What users do to a model, drawn from seeded dice: edits of its spec, one upon the other."""

import copy
from random import Random
from typing import Any

from reranker_operator.world.names import Document
from tests.unit.operator.simulation import sources
from tests.unit.operator.simulation.accidents import befall
from tests.unit.operator.simulation.simulation import QUIET_S, Simulation

#: How likely an accident is in a second.
ACCIDENT = 0.012
#: Seconds between two edits.
PAUSES_S = (1, 2, 3, 5, 8, 12, 20, 35, 60)
#: Members of a spec that an edit may change, the more often the more times they stand here.
MEMBERS = ("source",) * 3 + (
    "strategy",
    "adapters",
    "gate",
    "replicas",
    "unschedulable",
    "pace",
    "pod",
    "engine",
    "rest",
)
GATE: Document = {"goldenSet": {"configMapRef": {"name": "golden"}}, "minNDCG": "0.5"}


def specified(name: str = sources.GOOD, *, replicas: int = 2, **rollout: Any) -> Document:
    """A spec that asks for a model of that name."""
    pace = {"progressDeadlineSeconds": 30, "blueGreen": {"keepSeconds": 10}, **rollout}
    return {"source": {"uri": sources.uri(name)}, "replicas": replicas, "rollout": pace}


def random_life(seed: int, edits: int = 6) -> Simulation:
    """A model that is edited again and again while accidents happen, then left alone for as long as it takes."""
    simulation = Simulation(seed)
    dice, troubles = simulation.dice, simulation.troubles
    spec = _random_spec(dice, specified())
    spec |= {"source": {"uri": sources.uri(sources.GOOD)}, "replicas": max(1, spec["replicas"])}
    simulation.edit(spec, 60)
    if dice.random() < 0.5:
        troubles.crashes, troubles.lags = 0.03, 0.2
    troubles.misses = dice.choice([0.0, 0.0, 0.03, 0.1])
    for _ in range(edits):
        spec = _random_spec(dice, spec)
        simulation.edit(spec)
        for _ in range(dice.choice(PAUSES_S)):
            simulation.step()
            if simulation.cluster.pods and dice.random() < ACCIDENT:
                befall(simulation)
    troubles.end()
    simulation.say("nothing happens to it any more")
    if not simulation.settle():
        details = ", ".join(action.detail for action in simulation.actions)
        simulation.watch.violations.append(f"it doesn't rest for {QUIET_S} s: {details or 'its status changes'}")
    return simulation


def _random_spec(dice: Random, before: Document) -> Document:
    """The spec after one edit, or two at once."""
    spec = copy.deepcopy(before)
    for _ in range(dice.choice([1, 1, 1, 2])):
        _edit(spec, dice)
    return spec


def _edit(spec: Document, dice: Random) -> None:
    rollout = spec["rollout"]
    match dice.choice(MEMBERS):
        case "source":
            spec["source"] = {"uri": sources.uri(dice.choice((*sources.MODELS, sources.GOOD, sources.OTHER)))}
        case "strategy":
            rollout["strategy"] = dice.choice(["RollingUpdate", "InPlace", "BlueGreen"])
            rollout["blueGreen"] = {"keepSeconds": dice.choice([0, 10, 40])}
        case "adapters":
            listed = dice.sample(["legal", "tax"], dice.randint(0, 2))
            spec["adapters"] = [{"name": each, "source": _adapter_source(dice)} for each in listed]
        case "gate":
            _edit_gate(rollout, dice)
        case "replicas":
            spec["replicas"] = dice.choice([0, 1, 2, 3])
        case "unschedulable":
            action = dice.choice(["InPlace", "Wait", "Abort"])
            rollout["onUnschedulable"] = {"afterSeconds": dice.choice([5, 15]), "action": action}
        case "pace":
            rollout["maxSurge"], rollout["maxUnavailable"] = dice.choice([(1, 0), (0, 1), (2, 1)])
        case "pod":
            spec["resources"] = {"limits": {"cpu": dice.choice(["1", "2"])}}
        case "engine":
            spec["engine"] = {"maxLength": dice.choice([128, 512])}
        case _:
            _edit_rest(spec, dice)


def _adapter_source(dice: Random) -> Document:
    return {"uri": sources.uri(dice.choice(sources.ADAPTERS))}


def _edit_gate(rollout: Document, dice: Random) -> None:
    rollout.pop("gate", None)
    if dice.random() < 0.7:
        rollout["gate"] = dict(GATE)
    if "gate" in rollout and dice.random() < 0.3:
        shadow = {"percent": 5, "durationSeconds": dice.choice([5, 20])}
        rollout["gate"] |= {"minRankCorrelation": "0.5", "shadow": shadow}


def _edit_rest(spec: Document, dice: Random) -> None:
    match dice.choice(["pace", "cache", "history"]):
        case "pace":
            spec["rollout"]["minReadySeconds"] = dice.choice([0, 6])
        case "cache":
            prefetch = dice.random() < 0.7
            spec["cache"] = {"type": "PersistentVolumeClaim", "claimName": "cache", "prefetch": prefetch}
        case _:
            spec["revisionHistoryLimit"] = dice.choice([0, 2])
