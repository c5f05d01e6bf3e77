"""What a policy checker says of the chart as it is installed: no finding that isn't mended or explained here."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hack.cluster import golang

#: Findings that stay, by kube-score's summary, and why.
EXPLAINED = {
    "CPU limit is not set": (
        "a limit would throttle the operator in the moments when it has most to do, at no gain for its neighbours: "
        "its request bounds its share of a busy node"
    ),
    "ImagePullPolicy is not set to Always": (
        "released tags don't move, and image.digest pins what runs; Always would keep nodes from starting the operator "
        "while the registry is away"
    ),
    "The NetworkPolicys selector doesn't match any pods": "the operator makes the workers that it selects",
}


@dataclass(frozen=True)
class Finding:
    """Something that kube-score objects to in one object."""

    where: str
    summary: str

    def __str__(self) -> str:
        return f"{self.where}: {self.summary}"


def findings(objects: str) -> list[Finding]:
    """What kube-score finds in a stream of YAML documents, explained or not."""
    program = golang.build(golang.KUBE_SCORE)
    done = subprocess.run(
        [program, "score", "--output-format", "json", "-"], input=objects, capture_output=True, text=True, check=False
    )
    try:
        scored = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise RuntimeError(f"kube-score fails: {done.stderr or done.stdout}") from error
    return [Finding(where, summary) for each in scored for where, summary in _comments(each)]


def unexplained(objects: str) -> str:
    """Say what is found and not explained, and which explanations nothing needs any more."""
    found = findings(objects)
    open_ones = [str(each) for each in found if each.summary not in EXPLAINED]
    idle = EXPLAINED.keys() - {each.summary for each in found}
    return "\n".join([*open_ones, *(f"explained, but not found: {each}" for each in sorted(idle))])


def _comments(scored: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for check in scored["checks"]:
        if not check["skipped"] and check["grade"] < 10:
            for comment in check["comments"] or ():
                yield f"{scored['object_name']} {comment['path']}".rstrip(), comment["summary"]
