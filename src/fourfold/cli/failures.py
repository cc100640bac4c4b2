"""Errors while a command runs, each reported in one line."""

from __future__ import annotations

import re
import sys

import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from fourfold.cli.screen import encoding_of, visible
from fourfold.errors import FourfoldError, StoreError

EXPECTED = (FourfoldError, OSError, sa.exc.DatabaseError)  # of the disk and the state: an unusable store


def exit_code(error: Exception) -> int:
    """The exit code of the command line."""
    return error.exit_code if isinstance(error, FourfoldError) else StoreError.exit_code


def tell(error: Exception) -> str:
    """Print the error on the standard error, and return its text."""
    why = f"the state cannot be used: {error.orig}" if isinstance(error, sa.exc.DBAPIError) else str(error)
    line = visible(re.sub(r"\s*\n\s*", " ", why.strip()), encoding_of(sys.stderr))
    Console(stderr=True, highlight=False).print(Text(f"fourfold: {line}", "red"), soft_wrap=True)
    return line
