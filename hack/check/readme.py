"""The chart's README, made by helm-docs of README.md.gotmpl and the comments in values.yaml.

`python -m hack.check.readme` prints it.
"""

import subprocess

from hack.check.chart import CHART
from hack.cluster import golang

README = CHART / "README.md"


def readme() -> str:
    """The README as it should be."""
    done = subprocess.run(
        [golang.build(golang.HELM_DOCS), f"--chart-search-root={CHART}", "--dry-run", "--log-level=warning"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip() + "\n"


def differs() -> str:
    """Say how to write the README anew where it isn't as it should be."""
    return "" if README.read_text() == readme() else f"{README} is out of date: run `make generate`"


if __name__ == "__main__":
    print(readme(), end="")
