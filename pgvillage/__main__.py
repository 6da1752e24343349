"""`pgvillage` and `python -m pgvillage`."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    # A plan is hundreds of thousands of small objects that live until its end: with the usual threshold the collector
    # walks over all of them again and again, and finds nothing.
    gc.set_threshold(100_000, 50, 50)
    from pgvillage.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
