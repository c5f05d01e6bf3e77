"""An S3 server in the cluster, and a claim for caches."""

import shutil
from pathlib import Path

from hack.cluster.golang import build
from tests.e2e.kube import Object
from tests.fixtures.storage import S3, S3_KEY

NAME = "s3"
PORT = 7070
CACHE = "models-cache"
#: Folders of the claim `models`.
PROGRAMS, BUCKETS = "programs", "buckets"


def lay_out(folder: Path, models: Path) -> None:
    """Put the server's program and the bucket `models` where they are copied to the claim from."""
    (folder / PROGRAMS).mkdir()
    shutil.copy(build(S3), folder / PROGRAMS)
    shutil.copytree(models, folder / BUCKETS / "models" / models.name)


def server(image: str) -> list[Object]:
    """Return the server's pod, its Service and the Secret that opens it; the image only has to start a program."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAME},
            "stringData": {**S3_KEY, "AWS_ENDPOINT_URL": f"http://{NAME}:{PORT}"},
        },
        _pod(image),
    ]


def cache_claim() -> Object:
    """Return a claim that pods share."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CACHE},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def _pod(image: str) -> Object:
    keys = dict(zip(("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"), S3_KEY.values(), strict=True))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
            "containers": [
                {
                    "name": NAME,
                    "image": image,
                    "command": [f"/models/{PROGRAMS}/{S3.name}", f"--port=:{PORT}", "posix", f"/models/{BUCKETS}"],
                    "env": [{"name": name, "value": value} for name, value in keys.items()],
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        },
    }
