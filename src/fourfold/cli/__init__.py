"""The command line: one file per command; each computes first and renders after."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from fourfold.cli import compare, demo, doctor, fold, forget, metrics, runs, skew, status, streams, trace
from fourfold.errors import FourfoldError

app = typer.Typer(
    help="Monitor machine-learning pipelines after deployment.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
for command in (demo, status, runs, streams, metrics, trace, compare, skew, fold, forget, doctor):
    app.command(command.__name__.rpartition(".")[2])(command.command)


def main() -> None:
    """Run the command line; an error is one line that says what to do, and the exit code says which kind."""
    try:
        app()
    except FourfoldError as error:
        Console(stderr=True, highlight=False).print(f"fourfold: {error}", markup=False, style="red")
        sys.exit(error.exit_code)
