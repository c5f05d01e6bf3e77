"""The real KEDA: its operator and its metrics server, built from the Go module proxy, run against a kubeconfig."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import yaml
from kubernetes.client import ApiClient, ApiregistrationV1Api, CoreV1Api, RbacAuthorizationV1Api
from kubernetes.watch import Watch

from hack.cluster import certificates
from hack.cluster.certificates import Party
from hack.cluster.golang import GoProgram, build_all, module_folder
from tests.apiserver.fleet import free_port
from tests.apiserver.published import KEDA, KEDA_VERSION, crds, served

OPERATOR = GoProgram("operator", KEDA, KEDA_VERSION, "./cmd/operator")
METRICS_SERVER = GoProgram("adapter", KEDA, KEDA_VERSION, "./cmd/adapter")
NAMESPACE = "keda"
METRICS_API = "v1beta1.external.metrics.k8s.io"
START_S = 90.0


@contextmanager
def running(kubeconfig: Path, api: ApiClient, folder: Path) -> Iterator[None]:
    """Run KEDA until the end; its kinds and its metrics are served meanwhile."""
    programs = build_all([OPERATOR, METRICS_SERVER])
    definitions = crds(KEDA, KEDA_VERSION, "config/crd/bases/*.yaml")
    ports = {name: free_port() for name in ("health", "grpc", "secure", "metrics")}
    env = {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": NAMESPACE, "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE}
    env["WATCH_NAMESPACE"] = ""  # all of them; it refuses to run without
    pki = _certificates(folder)
    CoreV1Api(api).create_namespace({"metadata": {"name": NAMESPACE}})
    _let_autoscalers_read_metrics(api)
    with ExitStack() as stack:
        stack.enter_context(served(api, definitions))
        stack.enter_context(_process(_operator(programs, ports, pki), env, folder / "operator.log"))
        _until_answers(f"http://127.0.0.1:{ports['health']}/readyz", folder / "operator.log")
        argv = _metrics_server(programs, ports, pki, kubeconfig)
        stack.enter_context(_process(argv, env, folder / "metrics-server.log"))
        _until_answers(f"https://127.0.0.1:{ports['secure']}/readyz", folder / "metrics-server.log")
        _serve_metrics(api, ports["secure"])
        yield


def _operator(programs: Mapping[str, Path], ports: Mapping[str, int], pki: Path) -> list[str]:
    return [
        str(programs["operator"]),
        "--enable-prometheus-metrics=false",
        f"--health-probe-bind-address=127.0.0.1:{ports['health']}",
        f"--metrics-service-bind-address=127.0.0.1:{ports['grpc']}",
        f"--cert-dir={pki}",
        "--zap-log-level=info",
    ]


def _metrics_server(programs: Mapping[str, Path], ports: Mapping[str, int], pki: Path, kubeconfig: Path) -> list[str]:
    kubeconfigs = (f"--{name}kubeconfig={kubeconfig}" for name in ("lister-", "authentication-", "authorization-"))
    return [
        str(programs["adapter"]),
        "--bind-address=127.0.0.1",
        f"--secure-port={ports['secure']}",
        f"--port={ports['metrics']}",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki / 'tls.crt'}",
        f"--tls-private-key-file={pki / 'tls.key'}",
        f"--metrics-service-address=127.0.0.1:{ports['grpc']}",
        *kubeconfigs,
    ]


def _certificates(folder: Path) -> Path:
    """One certificate for both: they talk to each other by mutual TLS."""
    pki = folder / "pki"
    certificates.make(pki, [Party("tls", "keda", names=("DNS:localhost", "IP:127.0.0.1"))])
    return pki


@contextmanager
def _process(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(argv, env={**os.environ, **env}, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def _until_answers(url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    # Its own certificate; what is asked is whether it runs.
    with httpx.Client(trust_env=False, verify=False) as client:
        while True:
            try:
                if client.get(url).status_code in (200, 401, 403):
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < end, f"{url} doesn't answer; {log} ends:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)


def _let_autoscalers_read_metrics(api: ApiClient) -> None:
    """The role of KEDA's own manifests, bound to Kubernetes' autoscaler."""
    folder = module_folder(KEDA, KEDA_VERSION) / "config/metrics-server"
    role = yaml.safe_load((folder / "role.yaml").read_text())
    bindings = list(yaml.safe_load_all((folder / "role_binding.yaml").read_text()))
    binding = next(each for each in bindings if each["metadata"]["name"] == "keda-hpa-controller-external-metrics")
    RbacAuthorizationV1Api(api).create_cluster_role(role)
    RbacAuthorizationV1Api(api).create_cluster_role_binding(binding)


def _serve_metrics(api: ApiClient, port: int) -> None:
    """Have the API server lead to the metrics server on loopback, which only an external name may point at."""
    service = {"metadata": {"name": "keda-metrics"}, "spec": {"type": "ExternalName", "externalName": "localhost"}}
    CoreV1Api(api).create_namespaced_service(NAMESPACE, service)
    spec = {
        "group": "external.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "keda-metrics", "namespace": NAMESPACE, "port": port},
    }
    registrations = ApiregistrationV1Api(api)
    registrations.create_api_service({"metadata": {"name": METRICS_API}, "spec": spec})
    watch = Watch()
    fields = f"metadata.name={METRICS_API}"
    last = None
    for event in watch.stream(registrations.list_api_service, field_selector=fields, timeout_seconds=60):
        last = event["object"].status.conditions
        if any(c.type == "Available" and c.status == "True" for c in last or ()):
            watch.stop()
            return
    raise AssertionError(f"{METRICS_API} isn't available within 60 s: {last}")
