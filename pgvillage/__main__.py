"""`pgvillage` and `python -m pgvillage`."""

from __future__ import annotations

import sys


def main() -> None:
    from pgvillage.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
