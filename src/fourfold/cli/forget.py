"""``fourfold forget``: erase records, with every copy of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json
from fourfold.cli.render import number
from fourfold.cli.screen import Words, console
from fourfold.errors import InputError
from fourfold.ingest.forgetting import STAYS, Forgotten
from fourfold.ingest.writer import Writer
from fourfold.model.time import seconds

_COUNTS_STAY = "Their counts stay, and later records for that time are not counted."
_COUNTS_GO = "Their counts are subtracted."


def command(
    more: Annotated[list[str] | None, typer.Argument(metavar="[K]...", help="Further keys.")] = None,
    keys: Annotated[list[str] | None, typer.Option("--keys", help="A key whose records are erased.")] = None,
    keys_from: Annotated[Path | None, typer.Option("--keys-from", help="A text file of keys, one per line.")] = None,
    stream: Annotated[str | None, typer.Option("--stream", help="Only in this stream.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Erase the records before the midnight (UTC) at or before this.")
    ] = None,
    counts: Annotated[bool, typer.Option("--counts", help="With --before: subtract their counts, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove unreadable files from quarantine.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Erase the records of keys, or a stream's old records, from the log and the quarantine; this cannot be undone."""
    wanted = [*(keys or ()), *(more or ()), *_listed(keys_from)]
    if bool(wanted) == (before is not None):
        raise InputError("give either --keys K [K ...] (or --keys-from FILE), or --stream NAME --before MOMENT")
    if before is not None and stream is None:
        raise InputError("--before needs --stream: each stream has its own retention")
    if counts and before is None:
        raise InputError("--counts goes with --before; the counts of erased keys are always subtracted")
    writer = open_store(store, project).writer
    streams = None if stream is None else [stream]
    found = writer.forgettable(streams, keys=wanted, before=before)
    if not yes:
        _ask(found, json=json, stay=before is not None and not counts)
    done = _forget(writer, wanted, streams, before, counts, force)
    if json:
        print_json([done])
    else:
        _show(done)
    if done.left:
        raise typer.Exit(3)


def _forget(
    writer: Writer, keys: list[str], streams: list[str] | None, before: str | None, counts: bool, force: bool
) -> Forgotten:
    if before is None:
        return writer.forget_keys(keys, streams, force=force)
    assert streams is not None
    return writer.forget_before(streams[0], seconds(before, "--before"), counts=counts, force=force)


def _listed(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--keys-from {file}: it cannot be read: {error}") from error


def _ask(found: dict[str, int], *, json: bool, stay: bool) -> None:
    """Say what will be erased, and ask for confirmation on a terminal."""
    total = sum(found.values())
    listed = ", ".join(f"{stream} {number(n)}" for stream, n in found.items() if n) or "none"
    text = f"This erases {number(total)} records ({listed}) for ever. {_COUNTS_STAY if stay else _COUNTS_GO}"
    if json or not sys.stdin.isatty():
        raise InputError(f"{text} Confirm with --yes.")
    console().print(Words(text))
    typer.confirm("Go on?", abort=True)


def _show(done: Forgotten) -> None:
    out = console()
    for stream, n in done.records.items():
        if n or len(done.records) == 1:
            out.print(Words(stream, style="bold").append(f": {number(n)} records erased"))
    if not any(done.records.values()) and len(done.records) != 1:
        out.print("No records of these keys.")
    if done.quarantined:
        out.print(f"Quarantine: {number(done.quarantined)} rows erased.")
    out.print(Words(_COUNTS_STAY if done.counts == "kept" else _COUNTS_GO))
    out.print(Words(f"Of the counts, {STAYS}."))
    for text in done.left:
        out.print(Words(f"! {text}", style="yellow"))
