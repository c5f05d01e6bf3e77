"""The objects that a model owns: what the contract and restricted pod security ask of them."""

from typing import Any

import pytest

from reranker_operator.objects import manifests
from reranker_operator.objects.pod_template import pod_template
from reranker_operator.settings import Settings
from reranker_operator.world import names
from reranker_operator.world.colours import Colour
from reranker_operator.world.mounts import NO_MOUNTS, Mounts, mounts_of
from reranker_operator.world.state import Kind, PodTemplate
from tests.unit.operator.worlds import SETTINGS, empty, goal, model

REVISION = "bge-1436b70b"
CLAIM = Mounts(("models",))
IMAGE = "ghcr.io/acme/bge@sha256:" + "0" * 64


def template(settings: Settings = SETTINGS, mounted: Mounts = CLAIM, **spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = pod_template(model(**spec), "t-00000000", mounted, settings)["spec"]
    return made


def containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in (*spec["initContainers"], *spec["containers"])}


def mounts(container: dict[str, Any]) -> dict[str, bool]:
    return {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}


def test_revisions_and_keys_are_what_they_were_so_that_an_upgrade_rolls_nothing() -> None:
    source = {"uri": "hf://BAAI/bge-reranker-v2-m3", "revision": "953dc6f6"}
    engine = {"dtype": "auto", "maxLength": 512, "scores": "sigmoid"}
    assert names.model_revision("bge", source, engine) == "bge-3334361c"
    assert names.adapter_revision("legal", {"uri": "pvc://models/legal"}) == "legal-7fb66511"


def test_every_child_has_the_model_as_its_controller_and_the_common_labels() -> None:
    for kind, child in goal(empty(model())).children.items():
        assert child["kind"] == kind
        [owner] = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "RerankerModel",
            "bge",
            "uid-1",
            True,
        )
        assert child["metadata"]["labels"] == names.labels("bge")


def test_selectors_use_the_labels_of_model_and_fleet_alone() -> None:
    children = goal(empty(model())).children
    only = {"reranker.dev/model": "bge", "reranker.dev/fleet": "blue"}
    assert children[Kind.SERVICE]["spec"]["selector"] == only
    assert children[Kind.DEPLOYMENT]["spec"]["selector"] == {"matchLabels": only}
    assert only.items() <= children[Kind.DEPLOYMENT]["spec"]["template"]["metadata"]["labels"].items()
    assert children[Kind.POD_DISRUPTION_BUDGET]["spec"]["selector"] == {"matchLabels": only}


def test_the_template_key_is_the_label_and_the_argument_of_both_containers() -> None:
    wanted = goal(empty(model()))
    pod = wanted.children[Kind.DEPLOYMENT]["spec"]["template"]
    assert pod["metadata"]["labels"]["reranker.dev/template"] == wanted.template
    args = {name: container["args"] for name, container in containers(pod["spec"]).items()}
    assert args == {
        "fetcher": ["fetch", f"--template={wanted.template}", f"--cache-bytes={(20 << 30) * 99 // 100}"],
        "server": ["serve", f"--template={wanted.template}"],
    }


OTHER_TEMPLATES: dict[str, dict[str, Any]] = {
    "image": {"settings": Settings(worker_image="worker:2")},
    "pull policy": {"settings": Settings(worker_image="worker:1", worker_image_pull_policy="Always")},
    "pull secrets": {"settings": Settings(worker_image="worker:1", worker_image_pull_secrets="registry")},
    "annotations": {"settings": Settings(worker_image="worker:1", worker_annotations={"hint": "yes"})},
    "labels": {"settings": Settings(worker_image="worker:1", worker_labels={"team": "search"})},
    "priority": {"settings": Settings(worker_image="worker:1", worker_priority_class="search")},
    "fetcher's variables": {"settings": Settings(worker_image="worker:1", fetcher_env={"AWS_REGION": "eu-west-1"})},
    "server's variables": {
        "settings": Settings(worker_image="worker:1", server_env={"OTEL_TRACES_SAMPLER": "always_on"})
    },
    "identity": {"settings": Settings(worker_image="worker:1", worker_service_account="reranker-worker")},
    "hub": {"settings": Settings(worker_image="worker:1", hf_endpoint="http://hub")},
    "claims": {"mounted": Mounts(("models", "lora"))},
    "image volume": {"mounted": Mounts(("models",), IMAGE)},
    "revision": {"revision": "bge-ffffffff"},
    "resources": {"resources": {"limits": {"nvidia.com/gpu": 1}}},
    "node selector": {"nodeSelector": {"pool": "gpu"}},
    "tolerations": {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
    "cache size": {"cache": {"size": "1Gi"}},
    "cache's claim": {"cache": {"type": "PersistentVolumeClaim", "claimName": "models"}},
    "clients' keys": {"apiKeys": {"secretRef": {"name": "clients"}}},
    "secret": {"source": {"uri": "pvc://models/one", "secretRef": {"name": "token"}}},
}


@pytest.mark.parametrize("change", OTHER_TEMPLATES.values(), ids=OTHER_TEMPLATES.keys())
def test_the_template_key_changes_with_all_that_a_pod_is_made_of(change: dict[str, Any]) -> None:
    def key(settings: Settings = SETTINGS, mounted: Mounts = CLAIM, revision: str = REVISION, **spec: Any) -> str:
        return names.template_key(names.hash8(pod_template(model(**spec), "", mounted, settings)), revision)

    assert key(**change) != key()


def test_an_administrator_s_label_takes_none_of_the_operator_s_own() -> None:
    settings = Settings(worker_image="worker:1", worker_labels={"team": "search", names.MODEL_LABEL: "other"})
    labels = pod_template(model(), "t-1", CLAIM, settings)["metadata"]["labels"]
    assert (labels["team"], labels[names.MODEL_LABEL]) == ("search", "bge")


@pytest.mark.parametrize(
    ("gpu", "expected"), [({}, False), ({"nvidia.com/gpu": 1}, True), ({"nvidia.com/mig-1g.10gb": 1}, True)]
)
def test_a_worker_that_was_given_a_gpu_never_scores_without_it(gpu: dict[str, int], expected: bool) -> None:
    pod = goal(empty(model(resources={"limits": gpu}))).children[Kind.DEPLOYMENT]["spec"]["template"]["spec"]
    assert ("--device=cuda" in containers(pod)["server"]["args"]) is expected


def test_amounts_that_are_the_same_make_the_same_template() -> None:
    keys = {goal(empty(model(resources={"limits": {"nvidia.com/gpu": amount}}))).template for amount in (1, "1")}
    assert len(keys) == 1


def test_only_the_fetcher_can_write_the_cache_and_see_claims() -> None:
    found = containers(template())
    assert mounts(found["fetcher"]) == {
        "/cache": False,
        "/run/reranker": False,
        "/tmp": False,
        "/etc/reranker/serving": True,
        "/etc/reranker/podinfo": True,
        "/pvc/models": True,
    }
    assert mounts(found["server"]) == {
        "/cache": True,
        "/run/reranker": True,
        "/tmp": False,
        "/etc/reranker/serving": True,
        "/etc/reranker/podinfo": True,
    }


def test_both_containers_read_an_image_volume_at_its_digest_and_its_secret_is_the_nodes_too() -> None:
    settings = Settings(worker_image="worker:1", worker_image_pull_secrets="registry")
    source = {"uri": "oci://ghcr.io/acme/bge", "revision": "sha256:" + "0" * 64, "secretRef": {"name": "ghcr"}}
    spec = template(settings, Mounts(image=IMAGE), source=source)
    for container in containers(spec).values():
        assert mounts(container)["/oci/" + "0" * 64] is True
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["model-image"]["image"] == {"reference": IMAGE, "pullPolicy": "IfNotPresent"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "ghcr"}]
    assert mounts_of(spec) == Mounts(image=IMAGE)


def test_a_secret_that_opens_no_image_volume_is_not_the_nodes() -> None:
    assert "imagePullSecrets" not in template(source={"uri": "pvc://models/one", "secretRef": {"name": "token"}})


SECRET_KEYS: dict[str, tuple[dict[str, str], set[str]]] = {
    "hub": ({"uri": "hf://o/r", "revision": "main"}, {"HF_TOKEN"}),
    "S3": ({"uri": "s3://models/bge"}, {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}),
    "Google": ({"uri": "gs://models/bge"}, {"GOOGLE_SERVICE_ACCOUNT_KEY"}),
    "registry": ({"uri": "oci://ghcr.io/acme/bge"}, {"DOCKER_AUTH_CONFIG"}),
    "claim": ({"uri": "pvc://models/bge"}, set()),
}


@pytest.mark.parametrize(("source", "required"), SECRET_KEYS.values(), ids=SECRET_KEYS.keys())
def test_only_the_fetcher_gets_credentials_by_known_keys_of_which_the_source_requires_its_own(
    source: dict[str, Any], required: set[str]
) -> None:
    found = containers(
        template(
            Settings(worker_image="worker:1", hf_endpoint="http://hub"), source=source | {"secretRef": {"name": "s"}}
        )
    )
    variables = {each["name"]: each for each in found["fetcher"]["env"]}
    assert variables.pop("HF_ENDPOINT")["value"] == "http://hub"
    references = {name: each["valueFrom"]["secretKeyRef"] for name, each in variables.items()}
    assert {name for name, reference in references.items() if not reference.get("optional")} == required
    assert references["DOCKER_AUTH_CONFIG"]["key"] == ".dockerconfigjson"
    assert {reference["name"] for reference in references.values()} == {"s"}
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in found["server"]["env"]
    assert "secretKeyRef" not in str(found["server"])


def test_the_server_alone_mounts_the_clients_keys_and_no_other_key_of_their_secret() -> None:
    pod = template(apiKeys={"secretRef": {"name": "clients"}})
    (volume,) = (each for each in pod["volumes"] if "secret" in each)
    assert volume["secret"] == {"secretName": "clients", "items": [{"key": "API_KEYS", "path": "keys"}]}
    found = containers(pod)
    mounted = {name: mounts(container).get("/etc/reranker/api-keys") for name, container in found.items()}
    assert mounted == {"fetcher": None, "server": True}
    assert "--api-keys-file=/etc/reranker/api-keys/keys" in found["server"]["args"]


def test_an_empty_variable_is_written_as_the_api_server_keeps_it() -> None:
    settings = Settings(worker_image="worker:1", fetcher_env={"NO_PROXY": ""}, server_env={"OTEL_SDK_DISABLED": ""})
    found = containers(template(settings))
    assert {"name": "NO_PROXY"} in found["fetcher"]["env"]
    assert {"name": "OTEL_SDK_DISABLED"} in found["server"]["env"]


def test_without_a_secret_no_key_of_any_is_asked_for() -> None:
    assert "env" not in containers(template(source={"uri": "s3://models/bge"}))["fetcher"]


def test_what_the_installation_sets_a_secret_cannot_change() -> None:
    source = {"uri": "s3://models/bge", "secretRef": {"name": "s"}}
    given = {"AWS_REGION": "eu-west-1", "HTTPS_PROXY": "http://proxy:3128"}
    env = containers(template(Settings(worker_image="worker:1", fetcher_env=given), source=source))["fetcher"]["env"]
    assert {each["name"]: each["value"] for each in env if "value" in each} == given
    assert len({each["name"] for each in env}) == len(env)


def test_the_server_gets_the_installations_variables_and_keeps_its_own() -> None:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "HF_HUB_OFFLINE": "0"}
    found = containers(template(Settings(worker_image="worker:1", server_env=given)))
    values = [(each["name"], each.get("value")) for each in found["server"]["env"]]
    assert ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318") in values
    assert [value for name, value in values if name == "HF_HUB_OFFLINE"] == ["1"]
    assert "OTEL" not in str(found["fetcher"])


def test_a_cloud_identity_is_the_pods_service_account_and_is_kept_from_the_server() -> None:
    settings = Settings(worker_image="worker:1", worker_service_account="reranker-worker")
    pod = pod_template(model(), "t-00000000", NO_MOUNTS, settings)
    assert pod["spec"]["serviceAccountName"] == "reranker-worker"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["metadata"]["annotations"] == {"eks.amazonaws.com/skip-containers": "server"}


def test_a_cache_on_a_claim_is_mounted_in_the_place_of_the_emptydir_and_is_no_source() -> None:
    spec = template(cache={"type": "PersistentVolumeClaim", "claimName": "shared", "size": "3G"})
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["cache"] == {"name": "cache", "persistentVolumeClaim": {"claimName": "shared"}}
    assert mounts_of(spec) == CLAIM
    assert "--cache-bytes=2970000000" in containers(spec)["fetcher"]["args"]
    assert mounts(containers(spec)["server"])["/cache"] is True


def test_a_cache_that_others_fill_is_written_by_no_container() -> None:
    spec = template(cache={"type": "PersistentVolumeClaim", "claimName": "disk", "readOnly": True})
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["cache"] == {"name": "cache", "persistentVolumeClaim": {"claimName": "disk", "readOnly": True}}
    assert [mounts(containers(spec)[name])["/cache"] for name in ("fetcher", "server")] == [True, True]
    assert "--cache-read-only=true" in containers(spec)["fetcher"]["args"]


@pytest.mark.parametrize("name", ["fetcher", "server"])
def test_containers_meet_restricted_pod_security_with_a_read_only_root(name: str) -> None:
    assert containers(template())[name]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_has_no_token_and_runs_as_nobody() -> None:
    spec = template()
    assert spec["automountServiceAccountToken"] is False
    security = spec["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 65532, 65532)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_longest_drain_fits_into_the_grace_period() -> None:
    assert template()["terminationGracePeriodSeconds"] == 330


def test_the_fetcher_is_a_native_sidecar_and_the_podinfo_brings_the_annotation() -> None:
    spec = template()
    assert spec["initContainers"][0]["restartPolicy"] == "Always"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    [item] = volumes["podinfo"]["downwardAPI"]["items"]
    assert item == {
        "path": "serving-manifest",
        "fieldRef": {"fieldPath": "metadata.annotations['reranker.dev/serving-manifest']"},
    }
    assert volumes["serving"]["configMap"]["name"] == "bge-serving"


def test_members_that_are_not_given_do_not_stand_in_the_template() -> None:
    assert not {"nodeSelector", "tolerations", "imagePullSecrets"} & set(template())
    assert "resources" not in containers(template())["server"]


def test_the_strategy_is_the_rollouts() -> None:
    wanted = manifests.deployment(
        model(rollout={"maxSurge": 2, "maxUnavailable": 1, "progressDeadlineSeconds": 60, "minReadySeconds": 7}),
        PodTemplate("t", NO_MOUNTS, "0"),
        SETTINGS,
        revision=REVISION,
        inputs={"t": "0"},
        fleet=Colour.BLUE,
        reached=True,
    )
    assert wanted["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 1}
    assert (wanted["spec"]["progressDeadlineSeconds"], wanted["spec"]["revisionHistoryLimit"]) == (60, 2)
    assert wanted["spec"]["minReadySeconds"] == 7
    # The API server stores no zero: written, it would differ for ever.
    assert "minReadySeconds" not in goal(empty(model())).children[Kind.DEPLOYMENT]["spec"]
