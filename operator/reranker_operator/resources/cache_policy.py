"""Where a worker keeps what it downloads, as a spec says it. No I/O."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from reranker_operator.resources.schema import SUBDOMAIN, Schema, byte_count, rule, rules, text


class Cache(Schema):
    """Where downloads are kept: in the pod, for its life, or on a claim, for all pods that use it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.type == 'PersistentVolumeClaim') == has(self.claimName)",
                "claimName belongs to type PersistentVolumeClaim: set both, or neither for an EmptyDir",
            ),
            rule(
                "!self.prefetch || self.type == 'PersistentVolumeClaim'",
                "prefetch needs a cache that pods share, of type PersistentVolumeClaim: what is fetched ahead into one "
                "pod's EmptyDir helps no other pod",
            ),
            rule(
                "!self.readOnly || (self.type == 'PersistentVolumeClaim' && !self.prefetch)",
                "readOnly belongs to type PersistentVolumeClaim, without prefetch: nothing is fetched into such a one",
            ),
        )
    )

    type: Annotated[
        Literal["EmptyDir", "PersistentVolumeClaim"],
        Field(
            description="EmptyDir: each pod downloads for itself. PersistentVolumeClaim: pods share a claim of the "
            "namespace (ReadWriteMany, or ReadWriteOnce on one node; ReadOnlyMany with readOnly), and a pod that "
            "starts later downloads nothing."
        ),
    ] = "EmptyDir"
    claim_name: Annotated[
        str | None,
        text(
            f"^{SUBDOMAIN}$",
            "the name of a PersistentVolumeClaim: lower-case letters, digits, '-' and '.'",
            max_length=253,
            description="Name of the claim; several models may share one.",
        ),
    ] = None
    size: Annotated[
        str,
        text(
            "^[1-9][0-9]{0,11}(Mi|Gi|Ti|M|G|T)$",
            "a whole number with the unit Mi, Gi, Ti, M, G or T, such as 10Gi",
            max_length=20,
            description="Most that artifacts may take, such as 10Gi: what is in use stays, and the rest goes, the "
            "longest unused first, when a download needs its room.",
        ),
    ] = "20Gi"

    prefetch: Annotated[
        bool,
        Field(
            description="Whether running pods fetch the next revision before pods are made for it, so that a roll "
            "holds no download."
        ),
    ] = False

    read_only: Annotated[
        bool,
        Field(
            description="Whether pods only read the claim (ReadOnlyMany): other models, whose pods write it, bring "
            "what this one serves."
        ),
    ] = False

    @property
    def bytes(self) -> int:
        """What artifacts may take of the size: a kubelet counts whole blocks, and evicts a pod that is beyond it."""
        return byte_count(self.size) * 99 // 100
