"""How long an adapter's edit takes until every replica answers with it, seen by a client on the node's own clock."""

import json
import subprocess
import time
from collections.abc import Callable

from tests.e2e.client import POD
from tests.e2e.fleet import Model
from tests.fixtures.known_models import DOCUMENTS, QUERY

#: Runs in the client pod: asks each address again and again, and prints when the last one names another revision.
_WATCH = """
import json, sys, time, urllib.request
asked = json.loads(sys.stdin.readline())
def answers(address):
    body = json.dumps(asked["body"]).encode()
    url = f"http://{address}:8080/v1/rerank"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["x-reranker-adapter"]
before = {address: answers(address) for address in asked["addresses"]}
print("watching", flush=True)
waiting = set(before)
while waiting:
    waiting = {address for address in waiting if answers(address) == before[address]}
    time.sleep(0.01)
print(time.time(), flush=True)
"""


def edit_to_answers_s(model: Model, adapter: str, edit: Callable[[], None]) -> float:
    """Return the seconds from the start of `edit` until every pod of the model answers with other weights."""
    kube = model.kube
    command = ["kubectl", f"--kubeconfig={kube.kubeconfig}", f"--namespace={kube.namespace}"]
    watch = [*command, "exec", "-i", POD, "-c", POD, "--", "python", "-c", _WATCH]
    body = {"query": QUERY, "documents": list(DOCUMENTS), "adapter": adapter}
    with subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        watching.stdin.write(json.dumps({"addresses": model.pod_addresses(), "body": body}) + "\n")
        watching.stdin.flush()
        assert watching.stdout.readline().strip() == "watching"
        started = time.time()  # the pod is on this machine, and so is its clock
        edit()
        ended = float(watching.stdout.readline())
    return ended - started
