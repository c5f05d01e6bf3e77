"""`python3 -m hack.images`: build both images and load them into the cluster that CLUSTER names.

CLUSTER=local (default)  built by buildah, imported into the local cluster's containerd
CLUSTER=kind             built by docker, `kind load`ed into KIND_CLUSTER (kind)
CLUSTER=existing         built by docker or buildah and pushed to IMAGE_REGISTRY
IMAGE_OPERATOR and IMAGE_WORKER name images that are there already; nothing is built or loaded for them.
"""

import argparse
import json
import sys

from hack.cluster.progress import StepError

from . import recipes
from .delivery import Image, build, images, load


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m hack.images", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["build", "load", "refs"], help="refs prints the references as JSON")
    parser.add_argument("names", nargs="*", metavar="IMAGE", help="operator or worker; both when none is named")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.names) - set(recipes.RECIPES))
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such image; there are {', '.join(recipes.RECIPES)}")
    try:
        run(arguments.command, images(arguments.names or list(recipes.RECIPES)))
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(command: str, wanted: list[Image]) -> None:
    """Run one command on these images."""
    if command == "refs":
        print(json.dumps({image.name: image.reference for image in wanted}))
    for image in wanted:
        if command == "build":
            build(image)
        elif command == "load":
            load(image)


if __name__ == "__main__":
    sys.exit(main())
