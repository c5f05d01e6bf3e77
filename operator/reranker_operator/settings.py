"""The operator's settings, read once from flags and RERANKER_OPERATOR_* variables and passed down."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from reranker_operator.resources.placement import Toleration


class Settings(BaseSettings):
    """Kubernetes operator that runs rerankers and swaps their models and adapters while they serve.

    In a cluster it uses the pod's service account, elsewhere KUBECONFIG or ~/.kube/config. Every flag can also be
    given as an environment variable: --worker-image is RERANKER_OPERATOR_WORKER_IMAGE.
    """

    model_config = SettingsConfigDict(
        env_prefix="RERANKER_OPERATOR_",
        cli_prog_name="reranker-operator",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        frozen=True,
    )

    worker_image: Annotated[str, Field(min_length=1, description="Image of both containers of a worker pod.")] = (
        "reranker-worker:latest"
    )
    worker_image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Field(description="When a node pulls the worker image.")
    ] = "IfNotPresent"
    worker_image_pull_secrets: Annotated[
        str, Field(description="Image pull Secrets of the models' namespaces; names separated by commas.")
    ] = ""
    worker_annotations: Annotated[
        dict[str, str], Field(description="Annotations of every worker pod, such as an autoscaler's hints.")
    ] = {}
    worker_labels: Annotated[
        dict[str, str], Field(description="Labels of every worker pod, such as a cost centre; the operator's own win.")
    ] = {}
    worker_priority_class: Annotated[str, Field(description="PriorityClass of every worker pod.")] = ""
    gpu_runtime_class: Annotated[
        str, Field(description="RuntimeClass of pods that ask for a GPU, where it isn't the nodes' default.")
    ] = ""
    gpu_node_selector: Annotated[
        dict[str, str], Field(description="Labels of nodes for pods that ask for a GPU; a model's own win by key.")
    ] = {}
    gpu_tolerations: Annotated[
        list[Toleration], Field(description="Taints that pods that ask for a GPU tolerate beside the model's own.")
    ] = []
    hf_endpoint: Annotated[str, Field(description="Base URL of the Hugging Face hub or a mirror; empty: the hub.")] = ""
    fetcher_env: Annotated[
        dict[str, str],
        Field(description="Variables of every worker's fetcher as a JSON object, such as AWS_REGION or HTTPS_PROXY."),
    ] = {}
    server_env: Annotated[
        dict[str, str],
        Field(description="Variables of every worker's server as a JSON object, such as OTEL_EXPORTER_OTLP_ENDPOINT."),
    ] = {}
    worker_service_account: Annotated[
        str, Field(description="ServiceAccount of the models' namespaces that gives workers a cloud identity.")
    ] = ""
    namespaces: Annotated[str, Field(description="Namespaces to serve, separated by commas; empty: all of them.")] = ""
    api_requests_per_second: Annotated[
        float,
        Field(ge=1, description="Most requests to the API server in a second, after a burst of twice as many."),
    ] = 200
    resync_seconds: Annotated[
        float, Field(ge=1, description="Every model is reconciled this often even if no watch event tells of a change.")
    ] = 60
    concurrent_reconciles: Annotated[
        int, Field(ge=1, le=256, description="Models that are reconciled at the same time.")
    ] = 8
    lease: Annotated[
        str,
        Field(
            pattern=r"^([a-z0-9-]+/[a-z0-9.-]+)?$",
            description="Lease, as <namespace>/<name>, whose holder alone acts; empty: this is the only operator.",
        ),
    ] = ""
    lease_seconds: Annotated[
        int, Field(ge=1, le=3600, description="Another operator takes over this long after the holder's last sign.")
    ] = 15
    health_port: Annotated[int, Field(ge=0, le=65535, description="Port of /livez, /readyz and /metrics.")] = 8080
    health_address: Annotated[str, Field(description="Address that the health port is bound to.")] = ""
    log_format: Annotated[Literal["json", "console"], Field(description="json: one object a line.")] = "json"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least level logged.")] = (
        "info"
    )

    @property
    def pull_secrets(self) -> tuple[str, ...]:
        return _names(self.worker_image_pull_secrets)

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        return _names(self.namespaces)

    def watches(self, namespace: str) -> bool:
        """Whether objects of a namespace are the operator's to read."""
        return not self.watched_namespaces or namespace in self.watched_namespaces


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
