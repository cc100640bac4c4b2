"""What can go wrong while a command runs, told in one line."""

from __future__ import annotations

import re
import sys

import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from fourfold.cli.screen import encoding_of, visible
from fourfold.errors import FourfoldError, StoreError

EXPECTED = (FourfoldError, OSError, sa.exc.DatabaseError)  # of the disk and the state: a store that cannot be used


def exit_code(error: Exception) -> int:
    """What the command line exits with."""
    return error.exit_code if isinstance(error, FourfoldError) else StoreError.exit_code


def tell(error: Exception) -> str:
    """Say on the standard error what went wrong; returns what was said."""
    why = f"the state cannot be used: {error.orig}" if isinstance(error, sa.exc.DBAPIError) else str(error)
    line = visible(re.sub(r"\s*\n\s*", " ", why.strip()), encoding_of(sys.stderr))
    Console(stderr=True, highlight=False).print(Text(f"fourfold: {line}", "red"), soft_wrap=True)
    return line
