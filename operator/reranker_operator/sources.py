"""Where the files of models and adapters come from, as a spec says it. No I/O."""

from typing import Annotated

from pydantic import ConfigDict, Field

from reranker_operator.schema import Schema, rule, rules, text

PVC = "pvc://"
HF_URI = "^hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$"
#: The claim's name makes a volume's name, `pvc-<claim>`, which is a DNS label.
PVC_URI = "^pvc://[a-z0-9]([-a-z0-9]{0,57}[a-z0-9])?(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"


class SecretRef(Schema):
    """A Secret of the model's namespace. It opts in by having the key HF_TOKEN: no other key is ever read."""

    name: Annotated[
        str,
        text(
            "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            "the name of a Secret: lower-case letters, digits, '-' and '.'",
            max_length=253,
            description="Name of the Secret.",
        ),
    ]


class ArtifactSource(Schema):
    """Where the files of a model or an adapter come from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.uri.startsWith('hf://') || has(self.revision)",
                "an hf:// source needs a revision: a commit hash, tag or branch of the repository",
            ),
            rule(
                "!self.uri.startsWith('pvc://') || !has(self.revision)",
                "a pvc:// source has no revision: name another folder, or set digest, for other content",
            ),
        )
    )

    uri: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            description="hf://<owner>/<repository> or pvc://<claim>/<folder>.",
            json_schema_extra=rules(
                rule("self.startsWith('hf://') || self.startsWith('pvc://')", "the scheme must be hf:// or pvc://"),
                rule(
                    f"!self.startsWith('hf://') || self.matches('{HF_URI}')",
                    "an hf:// source has the form hf://<owner>/<repository>",
                ),
                rule(
                    f"!self.startsWith('pvc://') || self.matches('{PVC_URI}')",
                    "a pvc:// source has the form pvc://<claim>/<folder>[/<folder>…]; the claim's name has at most 59 "
                    "lower-case letters, digits and '-', folder names start with a letter, digit or _",
                ),
            ),
        ),
    ]
    revision: Annotated[
        str | None,
        text(
            "^[A-Za-z0-9][A-Za-z0-9._/-]*$",
            "a commit hash, tag or branch: letters, digits, '.', '_', '/' and '-', first a letter or digit",
            max_length=128,
            description="Commit, tag or branch of an hf:// repository.",
        ),
    ] = None
    digest: Annotated[
        str | None,
        text(
            "^sha256:[0-9a-f]{64}$",
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
    """Where the model's files come from. Its Secret also opens the repositories of the model's adapters."""

    secret_ref: Annotated[
        SecretRef | None, Field(description="Secret whose key HF_TOKEN is the token for an hf:// repository.")
    ] = None
