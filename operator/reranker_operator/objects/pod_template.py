"""The worker pod: fetcher and server from one image, as docs/contract.md lays them out. No I/O."""

from reranker_operator.objects.credentials import variables
from reranker_operator.objects.nodes import on_gpu, placed
from reranker_operator.resources.api_keys import SECRET_KEY, ApiKeys
from reranker_operator.resources.cache_policy import Cache
from reranker_operator.resources.rollout_policy import MAX_DRAIN_SECONDS
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.settings import Settings
from reranker_operator.world import names
from reranker_operator.world.mounts import Mounts, mount
from reranker_operator.world.names import Document
from reranker_operator.world.state import Model

UID = 65532
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
#: Beyond the longest drain: the last batch, closing the device, ending the sidecar.
DRAIN_MARGIN_S = 30
#: Where a cloud's webhook gives a pod an identity, only the container that downloads gets it.
SKIP_IDENTITY = {"eks.amazonaws.com/skip-containers": names.SERVER}
CACHE, RUN, TMP = "/cache", "/run/reranker", "/tmp"  # noqa: S108  (the container's own)
SERVING, PODINFO = "/etc/reranker/serving", "/etc/reranker/podinfo"
API_KEYS, API_KEYS_FILE, API_KEYS_VOLUME = "/etc/reranker/api-keys", "keys", "api-keys"


def pod_template(model: Model, key: str, mounts: Mounts, settings: Settings, fleet: str = "") -> Document:
    """The template whose pods know themselves by `key`; without key and fleet, what the key is the hash of."""
    own = {names.TEMPLATE_LABEL: key, names.FLEET_LABEL: str(fleet)}
    metadata: Document = {"labels": {**settings.worker_labels, **names.labels(model.key.name), **own}}
    identity = SKIP_IDENTITY if settings.worker_service_account else {}
    if annotations := {**identity, **settings.worker_annotations}:
        metadata["annotations"] = annotations
    spec: Document = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": MAX_DRAIN_SECONDS + DRAIN_MARGIN_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_fetcher(model.spec, key, mounts, settings)],
        "containers": [_server(model.spec, key, mounts, settings)],
        "volumes": [*_volumes(model), *mounts.volumes()],
        "topologySpreadConstraints": [_spread(model.key.name, topology) for topology in (HOST, ZONE)],
        **placed(model.spec, settings),
    }
    if settings.worker_service_account:
        spec["serviceAccountName"] = settings.worker_service_account
    if secrets := _pull_secrets(model.spec, mounts, settings):
        spec["imagePullSecrets"] = [{"name": name} for name in secrets]
    return {"metadata": metadata, "spec": spec}


def _fetcher(spec: RerankerModelSpec, key: str, mounts: Mounts, settings: Settings) -> Document:
    """The sidecar that downloads: the only container with the network's credentials and, mostly, a writable cache."""
    given = {**({"HF_ENDPOINT": settings.hf_endpoint} if settings.hf_endpoint else {}), **settings.fetcher_env}
    env = [_variable(name, value) for name, value in given.items()] + variables(spec.source, given)
    container = _container("fetcher", "fetch", key, settings)
    return {
        **container,
        "args": [*container["args"], *_cache_flags(spec.cache)],
        "restartPolicy": "Always",
        **({"env": env} if env else {}),
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
        "volumeMounts": [
            mount("cache", CACHE, read_only=spec.cache.read_only),
            mount("run", RUN),
            mount("tmp", TMP),
            mount("serving", SERVING, read_only=True),
            mount("podinfo", PODINFO, read_only=True),
            *mounts.of_claims(),
            *mounts.of_image(),
        ],
    }


def _server(spec: RerankerModelSpec, key: str, mounts: Mounts, settings: Settings) -> Document:
    """The container that scores; it reads the cache and can't write it."""
    resources = {name: amounts for name, amounts in _resources(spec).items() if amounts}
    env: list[Document] = [
        {"name": "HF_HUB_OFFLINE", "value": "1"},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    own = {variable["name"] for variable in env}
    env += [_variable(name, value) for name, value in settings.server_env.items() if name not in own]
    container = _container(names.SERVER, "serve", key, settings)
    keys = [f"--api-keys-file={API_KEYS}/{API_KEYS_FILE}"] if spec.api_keys else []
    # Where the GPU can't be used, the worker is to say so and not to score on the CPU.
    device = ["--device=cuda"] if on_gpu(spec.resources.limits) else []
    return {
        **container,
        "args": [*container["args"], *device, *keys],
        "env": env,
        "ports": [
            {"name": "http", "containerPort": names.CLIENT_PORT, "protocol": "TCP"},
            {"name": "internal", "containerPort": names.INTERNAL_PORT, "protocol": "TCP"},
        ],
        # Ten minutes for a slow import from a cold disk; liveness begins when the process answers.
        "startupProbe": {**_probe("/livez"), "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 600},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 3},
        **({"resources": resources} if resources else {}),
        "volumeMounts": [
            mount("cache", CACHE, read_only=True),
            mount("run", RUN, read_only=True),
            mount("tmp", TMP),
            mount("serving", SERVING, read_only=True),
            mount("podinfo", PODINFO, read_only=True),
            *mounts.of_image(),
            *([mount(API_KEYS_VOLUME, API_KEYS, read_only=True)] if spec.api_keys else ()),
        ],
    }


def _variable(name: str, value: str) -> Document:
    # The API server leaves an empty value out: written, it would differ for ever.
    return {"name": name, **({"value": value} if value else {})}


def _container(name: str, command: str, key: str, settings: Settings) -> Document:
    return {
        "name": name,
        "image": settings.worker_image,
        "imagePullPolicy": settings.worker_image_pull_policy,
        "args": [command, f"--template={key}"],
        # A Python traceback or a native crash ends in the log alone; this brings its tail into the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pull_secrets(spec: RerankerModelSpec, mounts: Mounts, settings: Settings) -> tuple[str, ...]:
    """Secrets with which a node pulls: an image volume's registry is opened by the model's own."""
    own = (spec.source.secret_ref.name,) if mounts.image and spec.source.secret_ref else ()
    return tuple(dict.fromkeys((*settings.pull_secrets, *own)))


def _resources(spec: RerankerModelSpec) -> Document:
    return {"limits": dict(spec.resources.limits), "requests": dict(spec.resources.requests)}


def _probe(path: str) -> Document:
    return {"httpGet": {"path": path, "port": "internal"}}


def _volumes(model: Model) -> list[Document]:
    annotation = f"metadata.annotations['{names.MANIFEST_ANNOTATION}']"
    podinfo = [{"path": "serving-manifest", "fieldRef": {"fieldPath": annotation}}]
    return [
        {"name": "serving", "configMap": {"name": names.serving_configmap(model.key.name)}},
        {"name": "podinfo", "downwardAPI": {"items": podinfo}},
        {"name": "cache", **_cache(model.spec.cache)},
        {"name": "run", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        *_api_keys(model.spec.api_keys),
    ]


def _api_keys(keys: ApiKeys | None) -> list[Document]:
    """Return the volume of clients' keys. Without the Secret no pod starts: it would answer anyone, or no one."""
    if keys is None:
        return []
    items = [{"key": SECRET_KEY, "path": API_KEYS_FILE}]
    return [{"name": API_KEYS_VOLUME, "secret": {"secretName": keys.secret_ref.name, "items": items}}]


def _cache_flags(cache: Cache) -> list[str]:
    return ["--cache-read-only=true"] if cache.read_only else [f"--cache-bytes={cache.bytes}"]


def _cache(cache: Cache) -> Document:
    if cache.type == "PersistentVolumeClaim":
        read_only = {"readOnly": True} if cache.read_only else {}
        return {"persistentVolumeClaim": {"claimName": cache.claim_name, **read_only}}
    return {"emptyDir": {"sizeLimit": cache.size}}


def _spread(model: str, topology: str) -> Document:
    # A preference only: on a single node, or with one GPU node left, the pods still start.
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {names.MODEL_LABEL: model}},
        # Pods of the template before go in the end: counted, they would leave the new ones together on one node.
        "matchLabelKeys": ["pod-template-hash"],
    }
