"""What the demo does, in order."""

import json
import time
from collections.abc import Sequence

from hack.cluster.progress import StepError, say, step
from hack.demo import history, manifests, models, questions, serving
from hack.demo.manifests import NAMESPACE
from hack.demo.questions import Question
from hack.demo.serving import MODEL, RESOURCE
from hack.images.delivery import load
from hack.repository import ROOT
from hack.stage import cluster
from hack.stage.claims import Artifact, fill_claim
from hack.stage.history import Request
from hack.stage.kubectl import Kubectl, Pod
from hack.stage.objects import LOAD, SCRIPTS_PATH
from hack.stage.preparation import Prepared, prepare
from hack.stage.serving import install_operator, save_diagnosis, start_load_pod, wait_ready
from hack.stage.traffic import Seen, Traffic, probe, traffic

OUTPUT = ROOT / "build" / "demo"
QUESTIONS = ROOT / "examples" / "debian-search" / "queries.json"
SHOWN = "cave surveying and mapping software"
URL = f"http://{MODEL}.{NAMESPACE}.svc:8080/v1/rerank"
ADAPTER = "lora-science"
RATE = 6.0  # requests a second; two cores bear it while a third worker starts beside them
CALM_S = 4  # of load between the steps


def up(rate: float = RATE) -> int:
    """Run the demo; return the exit status."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    kind = cluster.chosen()
    prepared = prepare(kind, NAMESPACE, models.artifacts)
    try:
        return _run(prepared, kind, rate)
    except StepError:
        log = OUTPUT / "diagnosis.log"
        save_diagnosis(prepared.kubectl, log)
        say(f"what the cluster looked like when this failed: {log}")
        raise


def down() -> int:
    """Remove what `up` made."""
    cluster.disconnect(cluster.chosen(), NAMESPACE)
    return 0


def _run(prepared: Prepared, kind: str, rate: float) -> int:
    kubectl, artifacts = prepared.kubectl, prepared.artifacts
    operator_image, worker_image = prepared.operator_image.reference, prepared.worker_image.reference
    load(prepared.operator_image)
    load(prepared.worker_image)
    asked = questions.parse(QUESTIONS.read_text())
    install_operator(kubectl, operator_image, worker_image)
    fill_claim(kubectl, worker_image, list(artifacts.values()))
    serving.apply_model(kubectl)
    start_load_pod(kubectl, operator_image, questions.load_bodies(asked))
    _show_ranking(kubectl, asked)
    with traffic(kubectl, URL, rate, OUTPUT) as sent:
        sent.order("phase before")
        sent.more(int(CALM_S * rate))
        adapter_load_s = _add_adapter(kubectl, sent, artifacts[ADAPTER], rate)
        model_swap_s = _swap_revision(kubectl, sent, artifacts["debian-search-2"], rate)
        requests = sent.end()
    _report(kind, requests)
    print(history.closing_line(requests, adapter_load_s, model_swap_s))
    return int(any(request.failed for request in requests))


def _show_ranking(kubectl: Kubectl, asked: Sequence[Question]) -> None:
    """Ask all questions through the Service; show one ranking, and the quality over all of them."""
    script = f"{SCRIPTS_PATH}/load.py"
    with step(f"{len(asked)} questions with {len(asked[0].candidates)} documents each are ranked"):
        lines = "".join(json.dumps(question.body) + "\n" for question in asked)
        rows = [
            json.loads(line)
            for line in kubectl(
                "exec", "--stdin", LOAD, "--", "python3", script, "ask", f"--url={URL}", text=lines
            ).splitlines()
        ]
    wrong = [row["error"] for row in rows if row["error"]]
    if wrong:
        raise StepError(f"{len(wrong)} of {len(rows)} questions failed; the first one: {wrong[0]}")
    answers = [row["answer"] for row in rows]
    shown = [question.query for question in asked].index(SHOWN)
    before, after = questions.quality(asked, answers)
    print(f"\n{questions.rendering(asked[shown], answers[shown])}\n")
    print(
        f"  MRR@{questions.CUTOFF} over all {len(asked)} questions: BM25 {before:.3f}, reranked {after:.3f}\n",
        flush=True,
    )


def _add_adapter(kubectl: Kubectl, sent: Traffic, artifact: Artifact, rate: float) -> float:
    """Add the adapter under load; return the seconds from `kubectl patch` until every pod has scored with it."""
    before = kubectl.pods(MODEL)
    with probe(kubectl, [f"{pod.address}:8080" for pod in before], ADAPTER, OUTPUT) as scored_by_every_pod:
        sent.order("phase adapter load")
        began = time.monotonic()
        kubectl.patch(RESOURCE, manifests.adapter_patch(ADAPTER, artifact.name, artifact.digest))
        scored_by_every_pod()
        seconds = time.monotonic() - began
    _same_pods(before, kubectl.pods(MODEL))
    say(f"adapter {ADAPTER} scores on every replica, {seconds:.1f} s after kubectl patch; no pod was replaced")
    wait_ready(kubectl, RESOURCE)
    sent.order("phase with adapter")
    sent.order(f"adapters {ADAPTER}")
    sent.more(int(CALM_S * rate))
    return seconds


def _same_pods(before: Sequence[Pod], after: Sequence[Pod]) -> None:
    if {pod.uid for pod in before} != {pod.uid for pod in after}:
        names = [", ".join(sorted(pod.name for pod in pods)) for pods in (before, after)]
        raise StepError(f"pods were replaced by an adapter's edit: {names[0]} became {names[1]}")


def _swap_revision(kubectl: Kubectl, sent: Traffic, artifact: Artifact, rate: float) -> float:
    """Swap the revision under load; return the seconds until the new one is Ready and answers everything."""
    old = serving.serving_revision(kubectl)
    sent.order("phase revision swap")
    began = time.monotonic()
    with step("the new revision is Ready", doing=f"swapping {old} for {artifact.name}"):
        kubectl.patch(RESOURCE, manifests.source_patch(artifact.name, artifact.digest))
        wait_ready(kubectl, RESOURCE)
    ready = time.monotonic()
    new = serving.serving_revision(kubectl)
    calm = int(CALM_S * rate)
    sent.wait_for(f"answers from {new} alone", lambda seen: _only(new, seen[-calm:]))
    sent.order("phase after")
    sent.more(calm)
    seconds = max(ready, _last_answer_of_another(new, began, sent.seen)) - began
    say(f"{new} answers everything, {seconds:.1f} s after kubectl patch")
    return seconds


def _only(revision: str, seen: Sequence[Seen]) -> bool:
    return all(one.request.revision == revision for one in seen)


def _last_answer_of_another(revision: str, began: float, seen: Sequence[Seen]) -> float:
    return max((one.at for one in seen if one.request.revision != revision), default=began)


def _report(kind: str, requests: Sequence[Request]) -> None:
    print("\n" + history.table(requests, ("revision", "adapter"), history.answered_by))
    print("\n" + history.table(requests, ("phase",), history.phase_of))
    for line in history.failures(requests):
        print(f"  failed: {line}")
    command = cluster.kubeconfig_command(kind)
    kubeconfig = f"{command}\n    " if command else ""
    print(f"""
  every request: {(OUTPUT / "history.jsonl").relative_to(ROOT)}
  look around:
    {kubeconfig}kubectl --namespace {NAMESPACE} get rerankermodels,pods
    kubectl --namespace {NAMESPACE} describe {RESOURCE}
    kubectl --namespace {NAMESPACE} get configmap/{MODEL}-serving --output=jsonpath='{{.data.manifest\\.json}}'
    kubectl --namespace {cluster.OPERATOR_NAMESPACE} logs deployment/{cluster.RELEASE}
  remove it all: {cluster.removal(kind)}
""")
