"""`python3 -m hack.demo up|down`: the body of `make demo` and `make demo-down`."""

import argparse
import sys

from hack.cluster.progress import StepError
from hack.demo import demo


def main() -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m hack.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="run the demo, starting what it needs")
    up.add_argument("--rate", type=float, default=demo.RATE, help="requests a second (default: %(default)s)")
    commands.add_parser("down", help="remove what the demo made")
    args = parser.parse_args()
    try:
        return demo.up(args.rate) if args.command == "up" else demo.down()
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
