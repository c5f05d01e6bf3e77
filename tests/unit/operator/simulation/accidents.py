"""What befalls a cluster, drawn from seeded dice: pods and objects that go, golden sets, nodes, adapters, restarts."""

from collections.abc import Callable, Mapping

from reranker_operator.world.adapter_resource import AdapterResource, adapter_resource
from reranker_operator.world.state import Kind
from tests.unit.operator.simulation import sources
from tests.unit.operator.simulation.cluster import KEY, deployments
from tests.unit.operator.simulation.simulation import Simulation

#: How long an accident may leave clients without a pod, and without a Service that somebody deleted.
RECOVERY_S, SERVICE_S = 60, 8


def befall(simulation: Simulation) -> None:
    """Let one accident happen."""
    accident = simulation.dice.choices(list(ACCIDENTS), list(ACCIDENTS.values()))[0]
    accident(simulation)


def _end_pod(simulation: Simulation) -> None:
    pod = simulation.dice.choice(simulation.cluster.pods)
    simulation.say(f"!! pod {pod.name} is deleted")
    pod.end(simulation.now)
    simulation.watch.excuse(simulation.now + RECOVERY_S)


def _restart_pod(simulation: Simulation) -> None:
    pod = simulation.dice.choice(simulation.cluster.pods)
    simulation.say(f"!! pod {pod.name} restarts")
    pod.restart()
    simulation.watch.excuse(simulation.now + RECOVERY_S)


def _delete_config_map(simulation: Simulation) -> None:
    _delete(simulation, Kind.CONFIG_MAP, 0)


def _delete_service(simulation: Simulation) -> None:
    _delete(simulation, Kind.SERVICE, SERVICE_S)


def _delete_deployment(simulation: Simulation) -> None:
    _delete(simulation, simulation.dice.choice(deployments(simulation.cluster) or [Kind.DEPLOYMENT]), RECOVERY_S)


def _delete(simulation: Simulation, kind: Kind, excused_s: int) -> None:
    if kind in simulation.cluster.children:
        simulation.say(f"!! the {kind} is deleted")
        simulation.cluster.delete(kind)
        simulation.watch.excuse(simulation.now + excused_s)


def _change_golden_set(simulation: Simulation) -> None:
    simulation.troubles.golden_set = simulation.dice.random() < 0.5
    simulation.say(f"!! {'a' if simulation.troubles.golden_set else 'no'} golden set")


def _change_capacity(simulation: Simulation) -> None:
    simulation.troubles.capacity = simulation.dice.choice([None, 2, 3])
    simulation.say(f"!! room for {simulation.troubles.capacity or 'all'} pods")


def _change_adapters(simulation: Simulation) -> None:
    adapters = simulation.cluster.adapters
    if adapters and simulation.dice.random() < 0.5:
        adapters.pop()
    else:
        adapters.append(_adapter(simulation))
    found = (f"{each} of {each.spec.source.uri}" for each in adapters if each.spec is not None)
    simulation.say(f"!! RerankerAdapters: {', '.join(found) or 'none'}")


def _adapter(simulation: Simulation) -> AdapterResource:
    dice, now = simulation.dice, simulation.now
    metadata = {
        "namespace": KEY.namespace,
        "name": dice.choice(["legal", "tax", "med"]),
        "uid": f"uid-adapter-{now}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": f"2026-01-01T00:{now // 60 % 60:02d}:{now % 60:02d}Z",
    }
    source = {"uri": sources.uri(dice.choice([sources.FITS, sources.FITS_NONE, sources.FITS_OTHER]))}
    return adapter_resource({"metadata": metadata, "spec": {"modelRef": {"name": KEY.name}, "source": source}})


def _restart_operator(simulation: Simulation) -> None:
    simulation.say("!! the operator restarts")
    simulation.judge.forget()


#: Accidents, each with its share.
ACCIDENTS: Mapping[Callable[[Simulation], None], int] = {
    _end_pod: 1,
    _restart_pod: 1,
    _delete_config_map: 1,
    _delete_service: 1,
    _delete_deployment: 1,
    _change_golden_set: 2,
    _change_capacity: 1,
    _change_adapters: 2,
    _restart_operator: 1,
}
