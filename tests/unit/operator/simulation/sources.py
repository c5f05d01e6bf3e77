"""What becomes of a source in a worker: how long it takes to load, and why it can't be. The name of a source tells."""

from dataclasses import dataclass
from random import Random

from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus

ROOT = "pvc://models/"

#: Loads and passes any gate; takes its time; can't be loaded; the gate refuses it; its worker never answers; its files
#: can't be had.
GOOD, SLOW, UNLOADABLE, REFUSED, SILENT, UNREACHABLE = "good", "slow", "unloadable", "refused", "silent", "unreachable"
OTHER, THIRD = "other", "third"
MODELS = (GOOD, OTHER, THIRD, SLOW, UNLOADABLE, REFUSED, SILENT, UNREACHABLE)

#: Adapters that fit any model, none, only OTHER, and any but OTHER.
FITS, FITS_TOO, FITS_NONE, FITS_OTHER, FITS_REST = "lora", "lora-too", "lora-none", "lora-other", "lora-rest"
ADAPTERS = (FITS, FITS_TOO, FITS_NONE, FITS_OTHER, FITS_REST)


@dataclass(frozen=True)
class Outcome:
    """How a load ends: after so many seconds, for the reason of its failure or for none."""

    seconds: int
    reason: str = ""


def uri(name: str) -> str:
    return ROOT + name


def name_of(source_uri: str) -> str:
    return source_uri.removeprefix(ROOT)


def model_outcome(source_uri: str, dice: Random) -> Outcome:
    """How the load of a model ends."""
    match name_of(source_uri):
        case "unloadable":
            return Outcome(3, "MissingHead")
        case "silent":
            return Outcome(1_000_000)
        case "slow":
            return Outcome(dice.randint(10, 25))
        case _:
            return Outcome(dice.randint(2, 6))


def adapter_outcome(source_uri: str, base_uri: str, dice: Random) -> Outcome:
    """How the load of an adapter onto a model ends."""
    on_other = name_of(base_uri) == OTHER
    unfit = {FITS_NONE: True, FITS_OTHER: not on_other, FITS_REST: on_other}
    if unfit.get(name_of(source_uri), False):
        return Outcome(2, "AdapterBaseMismatch")
    return Outcome(dice.randint(1, 3))


def artifact(source_uri: str) -> ArtifactStatus:
    """What the fetcher has of a source."""
    if name_of(source_uri) == UNREACHABLE:
        return ArtifactStatus(ArtifactPhase.FAILED, "", "SourceUnreachable", "no route to it")
    return ArtifactStatus(ArtifactPhase.COMPLETE, "sha256:00", size=1)
