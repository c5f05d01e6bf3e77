"""What the API server takes and what it refuses; a refusal says what would be accepted."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi

from reranker_operator.resources.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]

ABSENT = object()
COMMIT = "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e"
DIGEST = "sha256:" + "0" * 64
IMAGE = {"uri": "oci://ghcr.io/acme/bge", "revision": DIGEST}


def resource(changes: Json) -> Json:
    """A small valid resource with `changes` at dotted paths; ABSENT takes a field away."""
    whole: Json = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "bge", "namespace": "default"},
        "spec": {"source": {"uri": "hf://BAAI/bge-reranker-v2-m3", "revision": COMMIT}},
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = whole
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is ABSENT:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return whole


def source(uri: str, **others: str) -> Json:
    return {"spec.source": {"uri": uri, **others}}


def adapter(name: str = "legal", uri: str = "pvc://models/legal", **others: str) -> Json:
    return {"name": name, "source": {"uri": uri, **others}}


def adapters(*several: Json) -> Json:
    return {"spec.adapters": list(several)}


def resources(limits: Json, requests: Json | None = None) -> Json:
    return {"spec.resources": {"limits": limits, **({"requests": requests} if requests else {})}}


def toleration(**fields: Any) -> Json:
    return {"spec.tolerations": [fields]}


def gate(**thresholds: Any) -> Json:
    return {"spec.rollout.gate": {"goldenSet": {"configMapRef": {"name": "golden"}}, **thresholds}}


def autoscaling(**bounds: Any) -> Json:
    return {"spec.autoscaling": bounds}


CRON = {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 20 * * *"}}

VALID: dict[str, Json] = {
    "a model of the hub at a commit": {},
    "a branch with a slash as revision": {"spec.source.revision": "refs/pr/12"},
    "a digest beside the revision": {"spec.source.digest": DIGEST},
    "a token from a Secret": {"spec.source.secretRef": {"name": "hf-token"}},
    "keys for clients": {"spec.apiKeys": {"secretRef": {"name": "clients"}}},
    "a folder of a bucket": source("s3://models/bge/v2", digest=DIGEST),
    "a whole bucket of Google's": source("gs://acme_models.example.com", digest=DIGEST),
    "an artifact in a registry": source("oci://ghcr.io/acme/bge-v2_m3", revision=DIGEST),
    "an artifact in a registry at a port, checked by digest": source(
        "oci://localhost:5000/bge", revision=DIGEST, digest=DIGEST
    ),
    "a folder of a claim": source("pvc://models/bge/v2"),
    "a whole claim": source("pvc://models"),
    "a folder of a claim, checked by digest": source("pvc://models/bge", digest=DIGEST),
    "a folder with a file's name": source("pvc://models/_old/bge-v2.m3"),
    "a name of 50 characters": {"metadata.name": "a" * 50},
    "a name that the server makes": {"metadata.name": ABSENT, "metadata.generateName": "bge-"},
    "a served name with an owner": {"spec.servedName": "BAAI/bge-reranker-v2-m3"},
    "every engine setting": {
        "spec.engine": {
            "dtype": "bfloat16",
            "maxLength": 8192,
            "scores": "raw",
            "maxBatchTokens": 65536,
            "maxQueueTokens": 1000000,
        }
    },
    "an engine with one setting": {"spec.engine": {"maxLength": 1024}},
    "null where a default stands": {"spec.engine": None, "spec.replicas": None},
    "adapters from everywhere": adapters(
        adapter(),
        adapter("medical", "hf://acme/medical-lora", revision="v3"),
        adapter("news", "s3://models/news", digest=DIGEST),
        adapter("code", "oci://ghcr.io/acme/code", revision=DIGEST),
    ),
    "64 adapters of buckets": {
        **adapters(*(adapter(f"a{i}", f"s3://models/{'f' * 200}/{i}", digest=DIGEST) for i in range(64))),
        "spec.adapterPolicy": {"maxLoaded": 64},
    },
    "64 adapters": {
        **adapters(*(adapter(f"a{i}", f"pvc://models/{i}") for i in range(64))),
        "spec.adapterPolicy": {"maxLoaded": 64},
    },
    "no replicas": {"spec.replicas": 0},
    "a roll that takes a pod away first": {"spec.rollout": {"maxSurge": 0, "maxUnavailable": 1}},
    "a gate with a golden set alone": {"spec.rollout.gate": {"goldenSet": {"configMapRef": {"name": "golden"}}}},
    "a gate with every threshold": gate(k=5, minNDCG="0.62", minRankCorrelation="1", maxP95Milliseconds=80),
    "a gate with live queries": gate(minRankCorrelation="0.9", shadow={"percent": 5, "durationSeconds": 899}),
    "a swap in place": {"spec.rollout.strategy": "InPlace"},
    "a second fleet": {
        "spec.rollout": {"strategy": "BlueGreen", "blueGreen": {"keepSeconds": 0}, "minReadySeconds": 29}
    },
    "a way out where nodes are full": {"spec.rollout.onUnschedulable": {"afterSeconds": 60, "action": "Abort"}},
    "no old revisions kept": {"spec.revisionHistoryLimit": 0},
    "no drain": {"spec.rollout": {"drainSeconds": 0}},
    "an autoscaler": {"spec.autoscaling": {"maxReplicas": 8}},
    "an autoscaler beside replicas, which it writes": {"spec.replicas": 3, "spec.autoscaling": {"maxReplicas": 8}},
    "a model that sleeps": autoscaling(minReplicas=0, maxReplicas=1000, triggers=[CRON]),
    "an autoscaler with all triggers and a target": autoscaling(
        minReplicas=2, maxReplicas=2, targetLoadPercent=100, triggers=[CRON] * 4
    ),
    "a route by path": {"spec.route": {"parentRefs": [{"name": "public"}]}},
    "a route by host names": {
        "spec.route": {
            "parentRefs": [{"name": "public.v1", "namespace": "gateways", "sectionName": "https.0"}],
            "hostnames": ["bge.example.com", "*.rerank.example.com", "localhost"],
        }
    },
    "a Service of addresses": {"spec.service": {"headless": True}},
    "a small cache": {"spec.cache": {"size": "500Mi"}},
    "a cache on a claim": {"spec.cache": {"type": "PersistentVolumeClaim", "claimName": "models-cache"}},
    "files fetched ahead into a shared cache": {
        "spec.cache": {"type": "PersistentVolumeClaim", "claimName": "models-cache", "prefetch": True}
    },
    "a cache that others fill": {
        "spec.cache": {"type": "PersistentVolumeClaim", "claimName": "models-disk", "readOnly": True}
    },
    "an image that the node mounts": {"spec.source": {**IMAGE, "imageVolume": True}},
    "a GPU as a string": resources({"nvidia.com/gpu": "1"}),
    "a GPU as a number": resources({"nvidia.com/gpu": 1}),
    "a GPU repeated under requests": resources({"nvidia.com/gpu": 1}, {"nvidia.com/gpu": "1"}),
    "a request below its limit": resources({"cpu": "2", "memory": "16Gi"}, {"cpu": "500m", "memory": "16G"}),
    "a request without a limit": {"spec.resources": {"requests": {"cpu": "0.5"}}},
    "a node's label": {"spec.nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4", "gpu": ""}},
    "every taint tolerated": toleration(operator="Exists"),
    "a GPU's taint tolerated": toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),
    "a taint by its value, for a while": toleration(
        key="spot", operator="Equal", value="true", effect="NoExecute", tolerationSeconds=60
    ),
}

INVALID: dict[str, tuple[Json, str]] = {
    "no spec": ({"spec": ABSENT}, "spec: Required value"),
    "no source": ({"spec.source": ABSENT}, "spec.source: Required value"),
    "no uri": ({"spec.source": {"revision": "main"}}, "spec.source.uri: Required value"),
    "an empty uri": (source(""), "the scheme must be one of hf://, s3://, gs://, oci://, pvc://"),
    "a uri without a scheme": (source("BAAI/bge"), "the scheme must be one of hf://, s3://, gs://, oci://, pvc://"),
    "a scheme that isn't served": (source("ftp://models/bge"), "the scheme must be one of hf://, s3://, gs://, oci://"),
    "a bucket without a digest": (source("s3://models/bge"), "an s3:// or gs:// source needs a digest"),
    "a bucket with a revision": (
        source("gs://models/bge", revision="v2", digest=DIGEST),
        "name another folder, or set digest",
    ),
    "a bucket's name in capitals": (source("s3://Models/bge", digest=DIGEST), "the form s3://<bucket>/<folder>"),
    "a folder that leads out of its bucket": (
        source("gs://models/../other", digest=DIGEST),
        "folder names start with a letter, digit or _",
    ),
    "a registry's artifact without its digest": (
        source("oci://ghcr.io/acme/bge"),
        "needs the digest of its manifest as revision: sha256: and 64 hexadecimal digits",
    ),
    "a registry's artifact by tag": (
        source("oci://ghcr.io/acme/bge", revision="v2"),
        "needs the digest of its manifest",
    ),
    "a registry's artifact with its tag in the uri": (
        source("oci://ghcr.io/acme/bge:v2", revision=DIGEST),
        "a tag or digest doesn't belong in it",
    ),
    "a registry without a repository": (
        source("oci://ghcr.io", revision=DIGEST),
        "the form oci://<registry>[:<port>]/<repository>",
    ),
    "a hub model by a registry's digest": (
        source("hf://BAAI/bge", revision=DIGEST),
        "needs a revision: a commit hash, tag or branch",
    ),
    "a uri that is too long": (source("pvc://models/" + "a" * 500), "may not be more than 512"),
    "a hub model without an owner": (source("hf://bge", revision="main"), "the form hf://<owner>/<repository>"),
    "a hub model with a folder": (source("hf://BAAI/bge/onnx", revision="main"), "the form hf://<owner>/<repository>"),
    "a hub model with its revision in the uri": (
        source("hf://BAAI/bge@main", revision="main"),
        "the form hf://<owner>/<repository>",
    ),
    "a hub model without a revision": (
        source("hf://BAAI/bge"),
        "needs a revision: a commit hash, tag or branch of the repository",
    ),
    "a claim that leads out of itself": (
        source("pvc://models/../other"),
        "folder names start with a letter, digit or _",
    ),
    "a claim with an empty folder": (source("pvc://models//bge"), "the form pvc://<claim>/<folder>[/<folder>…]"),
    "a claim's name in capitals": (source("pvc://Models/bge"), "at most 59 lower-case letters, digits and '-'"),
    "a claim's name too long for a volume": (source("pvc://" + "a" * 60), "at most 59 lower-case letters"),
    "a claim with a revision": (source("pvc://models/bge", revision="v2"), "name another folder, or set digest"),
    "a revision with a space": ({"spec.source.revision": "a tag"}, "must be a commit hash, tag or branch"),
    "an empty revision": ({"spec.source.revision": ""}, "must be a commit hash, tag or branch"),
    "a digest without its algorithm": ({"spec.source.digest": "0" * 64}, "sha256: and 64 hexadecimal digits"),
    "a digest that is too short": ({"spec.source.digest": "sha256:abc"}, "sha256: and 64 hexadecimal digits"),
    "keys from nowhere": ({"spec.apiKeys": {}}, "apiKeys.secretRef: Required value"),
    "a Secret without a name": ({"spec.source.secretRef": {}}, "secretRef.name: Required value"),
    "a Secret's name in capitals": ({"spec.source.secretRef.name": "HF"}, "must be the name of a Secret"),
    "a name with a dot": ({"metadata.name": "bge.v2"}, "at most 50 lower-case letters, digits and '-'"),
    "a name that starts with a digit": ({"metadata.name": "2bge"}, "first a letter, last a letter or digit"),
    "a name of 51 characters": ({"metadata.name": "a" * 51}, "at most 50 lower-case letters, digits and '-'"),
    "a served name with a colon": ({"spec.servedName": "bge:legal"}, "letters, digits, '.', '_', '/' and '-'"),
    "an unknown dtype": (
        {"spec.engine.dtype": "int4"},
        'supported values: "auto", "float32", "bfloat16", "float16", "int8"',
    ),
    "an unknown scale of scores": ({"spec.engine.scores": "softmax"}, 'supported values: "sigmoid", "raw"'),
    "a length below a pair's least": ({"spec.engine.maxLength": 8}, "greater than or equal to 16"),
    "a length as a string": ({"spec.engine.maxLength": "512"}, 'must be of type integer: "string"'),
    "a batch smaller than a pair": (
        {"spec.engine": {"maxLength": 1024, "maxBatchTokens": 512}},
        "maxBatchTokens must be at least maxLength",
    ),
    "a queue smaller than a batch": (
        {"spec.engine": {"maxQueueTokens": 2048}},
        "maxQueueTokens must be at least maxBatchTokens",
    ),
    "an adapter without a source": (adapters({"name": "legal"}), "source: Required value"),
    "two adapters of one name": (adapters(adapter(), adapter(uri="pvc://models/b")), "Duplicate value"),
    "an adapter's name in capitals": (adapters(adapter("Legal")), "must be lower-case letters, digits and '-'"),
    "an adapter's name that ends in a dash": (adapters(adapter("legal-")), "first and last a letter or digit"),
    "an adapter's name of 41 characters": (adapters(adapter("a" * 41)), "may not be more than 40"),
    "a hub adapter without a revision": (adapters(adapter(uri="hf://acme/lora")), "needs a revision"),
    "more adapters than are loaded": (
        {**adapters(adapter(), adapter("medical")), "spec.adapterPolicy": {"maxLoaded": 1}},
        "remove some or raise maxLoaded (64 at most)",
    ),
    "more adapters than the default loads": (
        adapters(*(adapter(f"a{i}") for i in range(17))),
        "remove some or raise maxLoaded (64 at most)",
    ),
    "65 adapters": (adapters(*(adapter(f"a{i}") for i in range(65))), "must have at most 64 items"),
    "a bound of no adapters": ({"spec.adapterPolicy.maxLoaded": 0}, "greater than or equal to 1"),
    "a rank that no adapter has": ({"spec.adapterPolicy.maxRank": 1024}, "less than or equal to 512"),
    "fewer than no replicas": ({"spec.replicas": -1}, "greater than or equal to 0"),
    "a roll that can't move": (
        {"spec.rollout": {"maxSurge": 0}},
        "set maxSurge to 1 or more to replace pods without a gap",
    ),
    "a roll in percent": ({"spec.rollout.maxSurge": "25%"}, 'must be of type integer: "string"'),
    "a drain longer than the grace period": ({"spec.rollout.drainSeconds": 301}, "less than or equal to 300"),
    "a deadline of a second": ({"spec.rollout.progressDeadlineSeconds": 1}, "greater than or equal to 30"),
    "an unknown strategy": (
        {"spec.rollout.strategy": "Recreate"},
        'supported values: "RollingUpdate", "InPlace", "BlueGreen"',
    ),
    "an old fleet for more than a day": ({"spec.rollout.blueGreen.keepSeconds": 86401}, "less than or equal to 86400"),
    "a pod that is ready too late for the deadline": (
        {"spec.rollout": {"minReadySeconds": 900}},
        "minReadySeconds must be less than progressDeadlineSeconds",
    ),
    "an unknown way out where nodes are full": (
        {"spec.rollout.onUnschedulable.action": "Evict"},
        'supported values: "InPlace", "Wait", "Abort"',
    ),
    "a gate without a golden set": ({"spec.rollout.gate": {"minNDCG": "0.62"}}, "goldenSet: Required value"),
    "live queries that nothing is asked of": (
        gate(shadow={"percent": 5, "durationSeconds": 60}),
        "shadow is judged by minRankCorrelation",
    ),
    "live queries for longer than the deadline": (
        gate(minRankCorrelation="0.9", shadow={"percent": 5, "durationSeconds": 900}),
        "gate.shadow.durationSeconds must be less than progressDeadlineSeconds",
    ),
    "a threshold that isn't a string": (gate(minNDCG=0.62), 'must be of type string: "number"'),
    "a threshold in percent": (gate(minNDCG="62"), 'must be a decimal from 0 to 1 in quotes, such as "0.62"'),
    "an autoscaler without a bound": ({"spec.autoscaling": {}}, "spec.autoscaling.maxReplicas: Required value"),
    "a least number of pods above the most": (
        autoscaling(minReplicas=9, maxReplicas=8),
        "minReplicas must be at most maxReplicas",
    ),
    "a model that nothing wakes": (
        autoscaling(minReplicas=0, maxReplicas=8),
        "minReplicas 0 needs triggers: where no worker runs none can tell of load",
    ),
    "a model that nothing wakes, with an empty list": (
        autoscaling(minReplicas=0, maxReplicas=8, triggers=[]),
        "minReplicas 0 needs triggers",
    ),
    "a target above all that a worker can do": (
        autoscaling(maxReplicas=8, targetLoadPercent=150),
        "less than or equal to 100",
    ),
    "a model that sleeps at once": (
        autoscaling(minReplicas=0, maxReplicas=8, idleSeconds=0, triggers=[CRON]),
        "greater than or equal to 1",
    ),
    "a trigger that wants credentials": (
        autoscaling(maxReplicas=8, triggers=[{"type": "aws-sqs-queue", "metadata": {"queueURL": "q"}}]),
        'supported values: "prometheus", "metrics-api", "external-push", "cron"',
    ),
    "a trigger that says nothing": (
        autoscaling(maxReplicas=8, triggers=[{"type": "cron", "metadata": {}}]),
        "should have at least 1 properties",
    ),
    "a route from nowhere": ({"spec.route": {"parentRefs": []}}, "should have at least 1 items"),
    "a host name with its scheme": (
        {"spec.route": {"parentRefs": [{"name": "public"}], "hostnames": ["https://bge.example.com"]}},
        "a host name such as bge.example.com or *.example.com, without scheme, port and path",
    ),
    "a host name twice": (
        {"spec.route": {"parentRefs": [{"name": "public"}], "hostnames": ["a.example.com", "a.example.com"]}},
        "Duplicate value",
    ),
    "a Gateway's name in capitals": ({"spec.route": {"parentRefs": [{"name": "Public"}]}}, "must be a Gateway's name"),
    "a cache on a claim without a name": (
        {"spec.cache": {"type": "PersistentVolumeClaim"}},
        "claimName belongs to type PersistentVolumeClaim",
    ),
    "a claim's name without its type": (
        {"spec.cache": {"claimName": "models"}},
        "claimName belongs to type PersistentVolumeClaim",
    ),
    "files fetched ahead into a pod's own cache": (
        {"spec.cache": {"prefetch": True}},
        "prefetch needs a cache that pods share",
    ),
    "files fetched ahead into a cache that others fill": (
        {
            "spec.cache": {
                "type": "PersistentVolumeClaim",
                "claimName": "models-disk",
                "readOnly": True,
                "prefetch": True,
            }
        },
        "readOnly belongs to type PersistentVolumeClaim, without prefetch",
    ),
    "an image volume of a hub's model": (
        {"spec.source": {"uri": "hf://o/r", "revision": "main", "imageVolume": True}},
        "imageVolume belongs to an oci:// source",
    ),
    "an image volume beside a cache on a claim": (
        {
            "spec.source": {**IMAGE, "imageVolume": True},
            "spec.cache": {"type": "PersistentVolumeClaim", "claimName": "models-cache"},
        },
        "source.imageVolume needs a cache of type EmptyDir",
    ),
    "an image volume for swaps in place": (
        {"spec.source": {**IMAGE, "imageVolume": True}, "spec.rollout": {"strategy": "InPlace"}},
        "source.imageVolume needs new pods for each revision",
    ),
    "an image volume for swaps in place where there is no room": (
        {
            "spec.source": {**IMAGE, "imageVolume": True},
            "spec.rollout": {"onUnschedulable": {"action": "InPlace"}},
        },
        "source.imageVolume needs new pods for each revision",
    ),
    "a cache of an unknown type": ({"spec.cache.type": "HostPath"}, 'supported values: "EmptyDir"'),
    "a cache without a unit": ({"spec.cache.size": "10"}, "with the unit Mi, Gi, Ti, M, G or T, such as 10Gi"),
    "a resource that isn't a quantity": (resources({"memory": "16 GB"}), "must be a quantity such as 500m, 2 or 16Gi"),
    "a negative amount": (resources({"cpu": -1}), "greater than or equal to 0"),
    "a GPU without its domain": (resources({"gpu": 1}), "<domain>/<name>, such as nvidia.com/gpu"),
    "a request above its limit": (
        resources({"memory": "8Gi"}, {"memory": "9000Mi"}),
        "lower the request or raise the limit",
    ),
    "a GPU under requests alone": (
        {"spec.resources": {"requests": {"nvidia.com/gpu": 1}}},
        "belongs in limits; in requests leave it out or repeat the limit",
    ),
    "more GPUs allowed than asked for": (
        resources({"nvidia.com/gpu": 2}, {"nvidia.com/gpu": 1}),
        "belongs in limits; in requests leave it out or repeat the limit",
    ),
    "two GPUs for one worker": (
        resources({"nvidia.com/gpu": 2}),
        "set nvidia.com/gpu to 1, and replicas to as many as there are",
    ),
    "half a GPU": (
        resources({"nvidia.com/gpu": "500m"}),
        "a device such as nvidia.com/gpu is counted in whole numbers",
    ),
    "a node's label that isn't one": ({"spec.nodeSelector": {"a b": "c"}}, "must be labels, such as"),
    "a node's label with a bad value": ({"spec.nodeSelector": {"gpu": "l4!"}}, "must be labels, such as"),
    "an unknown effect of a taint": (
        toleration(operator="Exists", effect="Never"),
        'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
    ),
    "a toleration of nothing": (toleration(effect="NoSchedule"), "it needs operator Exists"),
    "a toleration with a value to ignore": (
        toleration(key="spot", operator="Exists", value="true"),
        "leave value out, or set operator to Equal",
    ),
    "a toleration that ends but evicts nobody": (
        toleration(key="spot", operator="Exists", tolerationSeconds=60),
        "tolerationSeconds belongs to effect NoExecute",
    ),
}


@pytest.fixture
def create(api: ApiClient) -> Callable[[Json], Json]:
    """Create a resource up to the point where it would be stored."""

    def dry_run(body: Json) -> Json:
        created: Json = CustomObjectsApi(api).create_namespaced_custom_object(
            GROUP, VERSION, "default", PLURAL, body, dry_run="All", field_validation="Strict"
        )
        return created

    return dry_run


@pytest.mark.parametrize("changes", VALID.values(), ids=VALID.keys())
def test_a_valid_resource_is_taken(create: Callable[[Json], Json], changes: Json) -> None:
    assert create(resource(changes))["kind"] == KIND


@pytest.mark.parametrize(("changes", "accepted"), INVALID.values(), ids=INVALID.keys())
def test_a_refusal_says_what_would_be_accepted(create: Callable[[Json], Json], changes: Json, accepted: str) -> None:
    with pytest.raises(ApiException) as refusal:
        create(resource(changes))
    assert refusal.value.status == 422
    assert accepted in json.loads(refusal.value.body)["message"]


def test_a_misspelt_field_is_named_where_the_client_asks_for_strictness(create: Callable[[Json], Json]) -> None:
    with pytest.raises(ApiException) as refusal:
        create(resource({"spec.replica": 2}))
    assert refusal.value.status == 400
    assert 'unknown field "spec.replica"' in json.loads(refusal.value.body)["message"]
