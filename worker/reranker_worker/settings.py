"""What each command of the worker is told by flags and `RERANKER__*` variables; read once, passed down."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, StringConstraints, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, CliPositionalArg, SettingsConfigDict

from reranker_worker.serving import DType

LogFormat = Literal["auto", "json", "console"]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=100_000_000)]
# A Secret that `echo` was piped into ends with a line's end, which no header may hold.
_Token = Annotated[str, StringConstraints(strip_whitespace=True)]


def _config(command: str) -> SettingsConfigDict:
    return SettingsConfigDict(
        # Kubernetes sets RERANKER_PORT for a Service named "reranker"; no Service's name makes two underscores here.
        env_prefix="RERANKER__",
        cli_prog_name=f"reranker-worker {command}",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        frozen=True,
        populate_by_name=True,
        extra="ignore",
    )


class _ManifestPaths(BaseSettings):
    """Where the serving manifest is mounted and where artifacts are."""

    template: str = Field(default="", description="Template key of this pod; names its entry in the manifest.")
    configmap_manifest: Path = Field(
        default=Path("/etc/reranker/serving/manifest.json"), description="The manifest from the ConfigMap."
    )
    podinfo_manifest: Path = Field(
        default=Path("/etc/reranker/podinfo/serving-manifest"), description="The manifest from the pod's annotation."
    )
    cache: Path = Field(default=Path("/cache"), description="Folder of the artifact cache.")
    run: Path = Field(default=Path("/run/reranker"), description="Folder in which the fetcher tells its progress.")
    claims: Path = Field(
        default=Path("/pvc"), description="Folder under which each claim of a pvc:// source is mounted."
    )
    images: Path = Field(
        default=Path("/oci"), description="Folder under which an image volume is mounted, by its manifest's digest."
    )
    # The hub's own variables, so that what works with its client works here.
    hub_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("hub_endpoint", "HF_ENDPOINT"),
        description="Hub to use instead of the public one (HF_ENDPOINT).",
    )
    hub_token: _Token | None = Field(
        default=None,
        validation_alias=AliasChoices("hub_token", "HF_TOKEN"),
        repr=False,
        description="Credential for the hub; better given as HF_TOKEN.",
    )
    docker_config: str = Field(
        default="",
        validation_alias=AliasChoices("docker_config", "DOCKER_AUTH_CONFIG"),
        repr=False,
        description="Credentials for registries, as in Docker's config.json; better given as DOCKER_AUTH_CONFIG.",
    )
    plain_http_registries: frozenset[str] = Field(
        default=frozenset(), description="Registry that is asked without TLS, as host[:port]; may be repeated."
    )
    log_format: LogFormat = Field(default="auto", description="json, console, or by whether a terminal is attached.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")

    @property
    def manifest_paths(self) -> tuple[Path, Path]:
        """Return the manifest's files; of equal generations the ConfigMap's counts."""
        return self.configmap_manifest, self.podinfo_manifest


class FetchSettings(_ManifestPaths):
    """Bring the manifest's artifacts into the cache and keep it so."""

    model_config = _config("fetch")

    template: str = Field(min_length=1, description="Template key of this pod; names its entry in the manifest.")
    cache_bytes: Annotated[int, Field(ge=1)] = Field(
        default=20 << 30, description="Most that artifacts may take; what is unused goes when a download needs room."
    )
    cache_read_only: bool = Field(
        default=False, description="Whether others fill the cache: nothing is written to it, and nothing fetched."
    )


class HttpLimits(BaseSettings):
    """How much one request may ask for, and how long it may take."""

    max_body_bytes: Count = Field(default=16 << 20, description="Largest request body.")
    body_timeout_s: Seconds = Field(default=20, description="Time in which a request's body must arrive.")
    request_timeout_s: Seconds = Field(default=60, description="Time in which a request must be scored.")
    max_documents: Count = Field(default=10_000, description="Most documents of one request.")
    max_characters: Count = Field(default=8_000_000, description="Most characters of one request's texts together.")


class ServeSettings(HttpLimits, _ManifestPaths):
    """Serve what the manifest says (--template), or one model by itself (--model)."""

    model_config = _config("serve")

    model: str = Field(default="", description="Folder or hub id of a model to serve without Kubernetes.")
    revision: str = Field(default="", description="Hub revision of --model; the default branch without one.")
    adapter: dict[str, str] = Field(default={}, description="NAME=FOLDER_OR_HUB_ID of an adapter; may be repeated.")
    served_name: str = Field(default="", description="Name that clients call --model by.")
    dtype: DType = Field(default="auto", description="Type of --model.")
    max_length: Annotated[int, Field(ge=8, le=131_072)] = Field(default=512, description="Tokens of a pair of --model.")
    scores: Literal["sigmoid", "raw"] = Field(default="sigmoid", description="Activation of --model's scores.")
    playground: CliImplicitFlag[bool] = Field(default=False, description="Serve a page to try --model at /playground.")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$", description="auto, cpu or cuda[:n].")
    host: str = Field(default="", description="Address of both ports; empty: all of this machine, IPv4's and IPv6's.")
    port: Port = Field(default=8080, description="Port of the clients.")
    internal_port: Port = Field(default=8081, description="Port of probes, /state and /metrics.")
    drain_delay_s: Seconds = Field(
        default=5, description="Time to go on accepting after SIGTERM, until endpoints know."
    )
    keep_alive_s: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=75, description="Time in which a client has to ask, to end a request's head, or to go on reading."
    )
    connection_age_s: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=60, description="Age at which a client is asked to open a new connection; 0: never."
    )
    api_keys_file: Path | None = Field(default=None, description="File of client keys, one a line; absent: no keys.")
    pod_name: str = Field(
        default="", validation_alias=AliasChoices("pod_name", "POD_NAME"), description="Name of this pod (POD_NAME)."
    )

    @model_validator(mode="after")
    def _serves_something(self) -> "ServeSettings":
        if bool(self.template) == bool(self.model):
            raise ValueError("give either --template (in Kubernetes) or --model (by itself)")
        if self.playground and not self.model:
            raise ValueError("--playground goes with --model; in Kubernetes the model turns it on by spec.playground")
        return self


class DigestSettings(BaseSettings):
    """Print the digest of a folder's served files, as `source.digest` wants it."""

    model_config = _config("digest")

    path: CliPositionalArg[Path] = Field(description="Folder of a model or adapter.")
