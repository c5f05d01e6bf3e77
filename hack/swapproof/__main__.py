"""`python -m hack.swapproof`: the body of `make swap-proof`; with RECORD, judge runs that were recorded before."""

import argparse
import sys
from pathlib import Path

from hack.cluster.progress import StepError
from hack.swapproof import proof, report
from hack.swapproof.proof import Options


def main() -> int:
    """Run the proof, or judge recorded runs; return the exit status."""
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m hack.swapproof", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the moves' order (default: %(default)s)")
    parser.add_argument("--swaps", type=int, default=60, help="how many (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second (default: %(default)s)")
    parser.add_argument(
        "--disturbed", type=float, default=0.2, metavar="SHARE", help="of the moves (default: %(default)s)"
    )
    parser.add_argument("--publish", action="store_true", help="write the figures and the picture into docs/")
    parser.add_argument("record", nargs="*", type=Path, metavar="RECORD", help="folder of a run to judge again")
    args = parser.parse_args()
    try:
        options = Options(args.seed, args.swaps, args.rate, args.disturbed)
        judged = [report.judge(folder) for folder in args.record or [proof.run(options)]]
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.publish:
        report.publish(judged)
    for _, verdict in judged:
        print("\n".join(report.lines(verdict)))
    return int(not all(verdict.holds for _, verdict in judged))


if __name__ == "__main__":
    sys.exit(main())
