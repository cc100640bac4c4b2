"""All commands, and how they end."""

from __future__ import annotations

import io
import os
import sys

import typer

from fourfold.cli import (
    check,
    compare,
    demo,
    doctor,
    fold,
    forget,
    incidents,
    metrics,
    move,
    objectives,
    report,
    runs,
    serve,
    skew,
    status,
    streams,
    suggest,
    tokens,
    trace,
    watch,
)
from fourfold.cli.failures import EXPECTED, exit_code, tell

app = typer.Typer(
    help="Monitor machine-learning pipelines after deployment.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
for command in (
    demo, check, incidents, objectives, status, watch, serve, report, tokens, runs, streams, metrics, trace, compare,
    skew, suggest, fold, forget, move, doctor,
):  # fmt: skip
    app.command(command.__name__.rpartition(".")[2])(command.command)


def run() -> None:
    """Run the command line; an error is one line that says what to do, and the exit code says which kind."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for output not written by ``screen``, such as --help
    try:
        app()
    except EXPECTED as error:
        tell(error)
        sys.exit(exit_code(error))
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the reader has closed the pipe, as ``head`` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        raise
