"""What the proof does on the cluster, in order."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from hack.cluster.cluster import existing
from hack.cluster.progress import StepError, say, step
from hack.images.delivery import load
from hack.repository import ROOT
from hack.stage import cluster, serving
from hack.stage.claims import fill_claim
from hack.stage.kubectl import Kubectl
from hack.stage.preparation import prepare
from hack.stage.traffic import traffic
from hack.swapproof import moves, oracle, record
from hack.swapproof.answers import blind_spots
from hack.swapproof.driver import Driver
from hack.swapproof.oracle import Oracle
from hack.swapproof.record import Facts, Step
from hack.swapproof.wanted import ADAPTER_RESOURCES, GOLDEN, MODEL, REPLICAS, RESOURCE, ROLL, resource
from hack.swapproof.watching import watching

NAMESPACE = "swap-proof"
OUTPUT = ROOT / "build" / "swap-proof"
URL = f"http://{MODEL}.{NAMESPACE}.svc:8080/v1/rerank"
LONGEST_S = 3600
GONE_S = 60.0
OWNED = "deployments,replicasets,pods,services,configmaps,poddisruptionbudgets,controllerrevisions,endpointslices"


@dataclass(frozen=True)
class Options:
    """How a run goes."""

    seed: int
    swaps: int
    rate: float  # requests a second
    disturbed: float  # share of the moves that something happens beside


def run(options: Options) -> Path:
    """Run the proof and return the folder of its record."""
    folder = OUTPUT / str(options.seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    planned = moves.plan(options.seed, options.swaps, options.disturbed)
    say(f"seed {options.seed}: {len(planned)} moves with {options.swaps} swaps")
    known = oracle.write(folder / "models", moves.refused_folders(planned))
    blind = blind_spots(known.known)
    if blind:
        raise StepError(f"the oracle can't tell {blind[0]} from each other; {len(blind)} such pairs")
    kind, was_up = cluster.chosen(), existing("local") is not None
    kubectl = _stage(kind, known)
    try:
        _record(kubectl, options, planned, known, folder)
    except StepError:
        serving.save_diagnosis(kubectl, folder / "diagnosis.log")
        say(f"what the cluster looked like when this failed: {folder / 'diagnosis.log'}")
        raise
    finally:
        if not was_up:
            cluster.disconnect(kind, NAMESPACE)
    return folder


def _stage(kind: str, known: Oracle) -> Kubectl:
    """Bring the cluster, the operator, the model and the load's pod up."""
    prepared = prepare(kind, NAMESPACE, lambda: known.artifacts)
    kubectl, worker = prepared.kubectl, prepared.worker_image.reference
    load(prepared.operator_image)
    load(prepared.worker_image)
    serving.install_operator(kubectl, prepared.operator_image.reference, worker)
    fill_claim(kubectl, worker, list(prepared.artifacts.values()))
    golden = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": GOLDEN}}
    golden["data"] = {"golden.jsonl": known.golden}
    kubectl.remove(RESOURCE, *ADAPTER_RESOURCES)
    with step(f"{RESOURCE} is Ready"):
        kubectl.apply(golden, resource(moves.START, ROLL, known.digests))
        serving.wait_ready(kubectl, RESOURCE)
    serving.start_load_pod(kubectl, prepared.operator_image.reference, oracle.body())
    return kubectl


def _record(kubectl: Kubectl, options: Options, planned: Sequence[moves.Move], known: Oracle, folder: Path) -> None:
    """Make the moves under load and write down what came of them, also of those before an error."""
    steps: list[Step] = []
    with watching(kubectl, folder) as watch:
        try:
            with traffic(kubectl, URL, options.rate, folder, longest_s=LONGEST_S) as sent:
                driver = Driver(kubectl, sent, watch, known.digests, rate=options.rate, random=Random(options.seed))
                driver.begin(moves.START)
                for number, move in enumerate(planned, start=1):
                    steps.append(driver.make(number, move))
                    say(_told(steps[-1], len(planned)))
                quiet = driver.quiet()
                sent.end()
            owned = tuple(_owned(kubectl))
            leftovers = tuple(_left_over(kubectl))
            kubectl.remove(*ADAPTER_RESOURCES)
        finally:
            record.write(folder, steps, watch.seen)
    record.write_facts(
        folder,
        Facts(
            seed=options.seed,
            swaps=options.swaps,
            rate=options.rate,
            replicas=REPLICAS,
            models=known.models,
            known=known.known,
            quiet=quiet,
            owned=owned,
            leftovers=leftovers,
        ),
    )


def _told(done: Step, count: int) -> str:
    beside = f", {done.disturbance}" if done.disturbance else ""
    return f"{done.number}/{count} {done.kind}{beside}: {done.ready - done.began:.1f} s"


def _left_over(kubectl: Kubectl) -> list[str]:
    """Delete the model and return what is left of its objects after the time in which they have to be gone."""
    kubectl.remove(RESOURCE)
    deadline = time.monotonic() + GONE_S
    with step("the model's objects are gone"):
        while (left := _owned(kubectl)) and time.monotonic() < deadline:
            time.sleep(0.5)
    return left


def _owned(kubectl: Kubectl) -> list[str]:
    listed = kubectl("get", OWNED, f"--selector=reranker.dev/model={MODEL}", "--output=name")
    return listed.split()
