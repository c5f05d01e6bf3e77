"""The two fleets that a model may have, and the Service's last turn from one to the other. No I/O."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reranker_operator.world import names


class Colour(StrEnum):
    """A fleet: the pods of one Deployment, told from the other's by a label."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> "Colour":
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE


@dataclass(frozen=True)
class Flip:
    """Which fleet the Service points at, since when, and the template that the other one served with until then."""

    active: Colour = Colour.BLUE
    at: datetime | None = None
    left: str = ""


def text(flip: Flip) -> str:
    """The flip as an annotation of the Service, written in one patch with the selector."""
    at = flip.at.isoformat() if flip.at is not None else None
    return names.canonical({"active": flip.active, "at": at, "left": flip.left})


def flip(content: str | None) -> Flip | None:
    """Read a flip; None where there was none, or what is written isn't one."""
    if not content:
        return None
    try:
        raw = json.loads(content)
        return Flip(Colour(raw["active"]), datetime.fromisoformat(raw["at"]), str(raw["left"]))
    except (ValueError, TypeError, KeyError):
        return None
