"""Where the files of models and adapters come from, as a spec says it. No I/O."""

from typing import Annotated

from pydantic import ConfigDict, Field

from reranker_operator.resources.schema import SHA256, SUBDOMAIN, Schema, rule, rules, text

PVC, OCI = "pvc://", "oci://"
_FOLDERS = "(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"

#: What a source of each scheme looks like, and how a refusal says it.
FORMS = {
    "hf://": (
        "^hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$",
        "an hf:// source has the form hf://<owner>/<repository>",
    ),
    "s3://": (
        f"^s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]{_FOLDERS}$",
        "an s3:// source has the form s3://<bucket>/<folder>[/<folder>…]; folder names start with a letter, digit or _",
    ),
    "gs://": (
        f"^gs://[a-z0-9][a-z0-9._-]{{1,220}}[a-z0-9]{_FOLDERS}$",
        "a gs:// source has the form gs://<bucket>/<folder>[/<folder>…]; folder names start with a letter, digit or _",
    ),
    "oci://": (
        "^oci://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$",
        "an oci:// source has the form oci://<registry>[:<port>]/<repository>; a tag or digest doesn't belong in it",
    ),
    # The claim's name makes a volume's name, `pvc-<claim>`, which is a DNS label.
    "pvc://": (
        f"^pvc://[a-z0-9]([-a-z0-9]{{0,57}}[a-z0-9])?{_FOLDERS}$",
        (
            "a pvc:// source has the form pvc://<claim>/<folder>[/<folder>…]; the claim's name has at most 59 "
            "lower-case letters, digits and '-', folder names start with a letter, digit or _"
        ),
    ),
}
SCHEMES = ", ".join(FORMS)


class SecretRef(Schema):
    """A Secret of the model's namespace. It opts in by having keys of known names; no other key is ever read."""

    name: Annotated[
        str,
        text(
            f"^{SUBDOMAIN}$",
            "the name of a Secret: lower-case letters, digits, '-' and '.'",
            max_length=253,
            description="Name of the Secret.",
        ),
    ]


#: What holds of each source.
PINNED = (
    rule(
        "!self.uri.startsWith('hf://') || (has(self.revision) && !self.revision.startsWith('sha256:'))",
        "an hf:// source needs a revision: a commit hash, tag or branch of the repository",
    ),
    rule(
        f"!self.uri.startsWith('oci://') || (has(self.revision) && self.revision.matches('^{SHA256}$'))",
        "an oci:// source needs the digest of its manifest as revision: sha256: and 64 hexadecimal digits",
    ),
    rule(
        "!(self.uri.startsWith('s3://') || self.uri.startsWith('gs://')) || has(self.digest)",
        "objects of a bucket can be overwritten, so an s3:// or gs:// source needs a digest, as "
        "`reranker-worker digest` prints it",
    ),
    rule(
        "!has(self.revision) || self.uri.startsWith('hf://') || self.uri.startsWith('oci://')",
        "an s3://, gs:// or pvc:// source has no revision: name another folder, or set digest, for other content",
    ),
)


class ArtifactSource(Schema):
    """Where the files of a model or an adapter come from."""

    model_config = ConfigDict(json_schema_extra=rules(*PINNED))

    uri: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            description="hf://<owner>/<repository>, s3://<bucket>/<folder>, gs://<bucket>/<folder>, "
            "oci://<registry>/<repository> or pvc://<claim>/<folder>.",
            json_schema_extra=rules(
                rule(
                    " || ".join(f"self.startsWith('{scheme}')" for scheme in FORMS),
                    f"the scheme must be one of {SCHEMES}",
                ),
                *(
                    rule(f"!self.startsWith('{scheme}') || self.matches('{form}')", says)
                    for scheme, (form, says) in FORMS.items()
                ),
            ),
        ),
    ]
    revision: Annotated[
        str | None,
        text(
            f"^({SHA256}|[A-Za-z0-9][A-Za-z0-9._/-]*)$",
            "a commit hash, tag or branch: letters, digits, '.', '_', '/' and '-', first a letter or digit; of an "
            "oci:// source sha256: and 64 hexadecimal digits",
            max_length=128,
            description="Commit, tag or branch of an hf:// repository; digest of an oci:// source's manifest.",
        ),
    ] = None
    digest: Annotated[
        str | None,
        text(
            f"^{SHA256}$",
            "sha256: and 64 hexadecimal digits, as `reranker-worker digest` prints it",
            max_length=71,
            description="Digest of the served files as `reranker-worker digest` prints it; checked after the download.",
        ),
    ] = None

    def document(self) -> dict[str, str]:
        """The source as the serving manifest has it: members that aren't given are left out."""
        members = {"uri": self.uri, "revision": self.revision, "digest": self.digest}
        return {member: value for member, value in members.items() if value is not None}


def claim_of(uri: str) -> str:
    """The PersistentVolumeClaim that a pvc:// source lies on; "" for other sources."""
    return uri.removeprefix(PVC).partition("/")[0] if uri.startswith(PVC) else ""


class Source(ArtifactSource):
    """Where the model's files come from. Its Secret also opens the sources of the model's adapters."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *PINNED,
            rule(
                "!self.imageVolume || self.uri.startsWith('oci://')",
                "imageVolume belongs to an oci:// source: nothing else is an image that a node could mount",
            ),
        )
    )

    secret_ref: Annotated[
        SecretRef | None,
        Field(
            description="Secret with the credentials, by the names of its keys: HF_TOKEN; AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY; GOOGLE_SERVICE_ACCOUNT_KEY; .dockerconfigjson."
        ),
    ] = None

    image_volume: Annotated[
        bool,
        Field(
            description="Whether nodes pull the oci:// image and mount it into the pods (image volumes; not every "
            "cluster has them: docs/sources.md); else the worker fetches the files."
        ),
    ] = False
