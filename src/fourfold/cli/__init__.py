"""The command line: one file per command; each computes first and renders after."""

from __future__ import annotations

import sys
from typing import Any

INTERRUPTED = 130  # the exit code after an interrupt


def main() -> None:
    """Run the command line. It loads its modules here, so that an interrupt meanwhile is handled too."""
    try:
        from fourfold.cli.commands import run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fourfold.cli.commands import app

    return app
