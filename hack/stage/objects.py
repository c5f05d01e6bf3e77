"""The objects beside a RerankerModel: namespace, claim, loader and load pod, and sources on the claim. No I/O."""

from typing import Any

Object = dict[str, Any]
CLAIM = "models"
LOADER = "loader"
LOAD = "load"
SCRIPTS = "load-scripts"
SCRIPTS_PATH = "/load"
MODELS_PATH = "/models"
CONTENTS = "reranker.dev/demo-contents"
NODE = "reranker.dev/demo-node"
USER = 65532
WAIT_FOR_EXEC = "import signal; signal.pause()"


def namespace(name: str) -> Object:
    """Return a namespace that is held to restricted pod security."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def claim() -> Object:
    """Return the claim that holds the model folders, of the cluster's default storage class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return _named("v1", "PersistentVolumeClaim", CLAIM) | {"spec": spec}


def source(folder: str, digest: str) -> Object:
    """Return the source of a model or an adapter that lies on the claim."""
    return {"uri": f"pvc://{CLAIM}/{folder}", "digest": digest}


def loader_pod(image: str) -> Object:
    """Return the pod through which the model folders are copied into the claim."""
    volumes = [{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}]
    return _pod(LOADER, image, volumes, {CLAIM: MODELS_PATH})


def load_pod(image: str) -> Object:
    """Return the pod that sends the load; it waits, and `kubectl exec` runs the script."""
    volumes = [{"name": SCRIPTS, "configMap": {"name": SCRIPTS}}]
    return _pod(LOAD, image, volumes, {SCRIPTS: SCRIPTS_PATH})


def scripts(files: dict[str, str]) -> Object:
    """Return the ConfigMap that brings the load's script and its requests into the pod."""
    return _named("v1", "ConfigMap", SCRIPTS) | {"data": files}


def _named(api_version: str, kind: str, name: str) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


def _pod(name: str, image: str, volumes: list[Object], mounts: dict[str, str]) -> Object:
    container = {
        "name": name,
        "image": image,
        "command": ["python3", "-c", WAIT_FOR_EXEC],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
    }
    spec = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    return _named("v1", "Pod", name) | {"spec": spec}
