"""A pod that sends requests from inside the cluster, where clients are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.e2e.kube import Kube, Object
from tests.fixtures.known_models import DOCUMENTS, QUERY

POD = "client"

#: Runs in the pod: one request from stdin, one reply to stdout. A refused connection is a reply with status 0.
_SEND = """
import json, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
body = json.dumps(asked["body"]).encode() if asked["body"] is not None else None
request = urllib.request.Request(asked["url"], body, {"content-type": "application/json", **asked["headers"]})
try:
    with urllib.request.urlopen(request, timeout=asked["timeout_s"]) as answer:
        reply = {"status": answer.status, "headers": dict(answer.headers), "text": answer.read().decode()}
except urllib.error.HTTPError as refused:
    reply = {"status": refused.code, "headers": dict(refused.headers), "text": refused.read().decode()}
except OSError as failed:
    reply = {"status": 0, "headers": {}, "text": str(failed)}
json.dump(reply, sys.stdout)
"""


@dataclass(frozen=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def scores(self) -> list[float]:
        """Scores in document order."""
        assert self.status == 200, self.text
        return [r["relevance_score"] for r in sorted(self.json["results"], key=lambda r: r["index"])]

    @property
    def revision(self) -> str:
        return self.headers["x-reranker-revision"]


@dataclass(frozen=True)
class Client:
    """Sends requests from the client pod of a namespace."""

    kube: Kube

    def send(
        self, url: str, body: Object | None = None, *, headers: Mapping[str, str] | None = None, timeout_s: int = 30
    ) -> Reply:
        asked = json.dumps({"url": url, "body": body, "headers": headers or {}, "timeout_s": timeout_s})
        answered = json.loads(self.kube("exec", "-i", POD, "-c", POD, "--", "python", "-c", _SEND, stdin=asked))
        headers = {name.lower(): value for name, value in answered["headers"].items()}
        return Reply(answered["status"], headers, answered["text"])

    def reaches(self, host: str) -> bool:
        """Tell whether anything answers there; soon, since each try that was lost stays lost however long it waits."""
        return self.send(f"http://{host}:8080/v1/models", timeout_s=3).status > 0

    def rerank(self, host: str, **members: object) -> Reply:
        """Rerank DOCUMENTS for QUERY at a Service's name or a pod's address."""
        body = {"query": QUERY, "documents": list(DOCUMENTS), **members}
        return self.send(f"http://{host}:8080/v1/rerank", body)


def hub(script: str) -> list[Object]:
    """Return the Service of a small Hugging Face hub, and the script that the client pod runs it by."""
    metadata = {"name": "hub"}
    spec = {"selector": {"app": POD}, "ports": [{"port": 8000}]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"hub.py": script}},
    ]


def pod(image: str) -> Object:
    """Return the client pod: the operator's image, whose Python has what a client and the hub need."""
    claim = {"name": "models", "mountPath": "/models"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "labels": {"app": POD}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
            "containers": [
                {
                    "name": POD,
                    "image": image,
                    "command": ["python", "-c", "import signal; signal.pause()"],
                    "volumeMounts": [claim, {"name": "work", "mountPath": "/load"}],
                },
                {
                    "name": "hub",
                    "image": image,
                    "command": ["python", "/hub/hub.py", "--root=/models", "--host=0.0.0.0", "--port=8000"],
                    "volumeMounts": [claim, {"name": "hub", "mountPath": "/hub"}],
                },
            ],
            "volumes": [
                {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
                {"name": "work", "emptyDir": {}},
                {"name": "hub", "configMap": {"name": "hub"}},
            ],
        },
    }
