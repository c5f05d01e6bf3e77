"""`python -m hack.docs`: write the docs site to build/site; any warning is an error."""

import sys

from hack.docs.site import WORK, build


def main() -> int:
    """Build, and say where the site is or what is wrong; return the exit status."""
    wrong = build(WORK)
    print(wrong.rstrip() or f"docs: {WORK / 'site/index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
