"""What Argo CD and kstatus must make of a model in each of its states."""

from hack.gitops.verdicts import Verdict

#: State: Argo CD's health, kstatus's status.
EXPECTED = {
    "new": ("Progressing", "InProgress"),
    "loading": ("Progressing", "InProgress"),
    "ready": ("Healthy", "Current"),
    "edited": ("Progressing", "InProgress"),
    "rolling": ("Progressing", "InProgress"),
    "rejected": ("Degraded", "Failed"),
    "bad-adapter": ("Degraded", "Failed"),
    "scaled-to-zero": ("Healthy", "Current"),
    "deleted": ("Progressing", "Terminating"),
}


def seen(verdict: Verdict) -> tuple[str, str]:
    """The part of a verdict that EXPECTED tells."""
    return verdict.argo, verdict.kstatus
