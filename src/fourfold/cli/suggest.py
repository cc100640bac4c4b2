"""``fourfold suggest``: the constraints that were inferred, as lines of fourfold.toml."""

from __future__ import annotations

import json as text
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json, settings_of
from fourfold.cli.screen import Words, console
from fourfold.errors import ConfigError, suggest
from fourfold.state import catalogue
from fourfold.watch import constraints
from fourfold.watch.constraints import Constraint, Rule, Status

FILE = Path("fourfold.toml")


def command(
    stream: Annotated[str | None, typer.Argument(help="Only this stream's columns.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Append them to fourfold.toml.")] = False,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Show the constraints that fourfold has inferred, as lines to pin, change or mute in fourfold.toml."""
    declared = settings_of(store, project).watch.get("expects", {})
    reader = open_store(store, project).caught_up()
    streams = list(reader.recall(catalogue.streams))
    if stream is not None and stream not in streams:
        raise suggest("stream", stream, streams)
    found = [c for s in streams if stream in (None, s) for c in constraints.all_of(reader, s, declared)]
    if json:
        print_json(found)
        return
    new = [c for c in found if c.name not in declared]
    lines = sections(new)
    if not lines:
        why = f"All constraints are in {FILE} already." if found else "No constraints yet: it takes some days of data."
        console().print(Words(why, style="dim"))
        return
    if write:
        added = append(FILE, lines)
        console().print(Words(f"{added} sections were added to {FILE}; nothing else in it was changed."))
        return
    for line in lines:
        console().print(Words(line), soft_wrap=True)


def sections(found: Iterable[Constraint]) -> list[str]:
    """The lines of a section for each column; what is still being learned, or muted, is a comment."""
    by_name: dict[str, list[Constraint]] = {}
    for constraint in found:
        if constraint.rule is not Rule.TYPE and constraint.status is not Status.DECLARED:
            by_name.setdefault(constraint.name, []).append(constraint)
    lines: list[str] = []
    for name, several in by_name.items():
        lines += ["", f"[watch.expects.{_quoted(name)}]", *map(_line, several)]
    return lines[1:]


def append(file: Path, lines: Sequence[str]) -> int:
    """Append sections to a file, which is otherwise left as it is; returns how many.

    Raises:
        ConfigError: the file would not be valid TOML with them.
    """
    present = file.read_text(encoding="utf-8") if file.exists() else ""
    added = (
        ("" if present.endswith("\n") or not present else "\n") + ("\n" if present else "") + "\n".join(lines) + "\n"
    )
    try:
        tomllib.loads(present + added)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{file}: the sections do not fit what is there ({error}). Write its [watch] and its expectations as "
            'sections, [watch.expects."stream.column"]; or copy the lines that "fourfold suggest" prints.'
        ) from error
    with file.open("a", encoding="utf-8") as opened:
        opened.write(added)
    return sum(line.startswith("[") for line in lines)


def _line(constraint: Constraint) -> str:
    """A constraint as a line, with what it is based on."""
    written = f"{constraint.rule} = {_value(constraint)}"
    based = f"{constraint.n:,} records, {constraint.buckets} days"
    match constraint.status:
        case Status.ACTIVE:
            return f"{written}  # active: {based}"
        case Status.LEARNING:
            return f"# {written}  # learning, {constraint.buckets} of {constraint.needed} days: {based}"
        case _:
            return f"# {written}  # {constraint.status}"


def _value(constraint: Constraint) -> str:
    match constraint.rule:
        case Rule.MIN | Rule.MAX:
            return repr(constraint.limit)
        case Rule.VALUES:
            return f"[{', '.join(map(_quoted, constraint.values))}]"
        case Rule.NULL:
            return "false"
        case _:
            return "true"


def _quoted(value: str) -> str:
    """A text as TOML writes it: as JSON does, but for one more character that must be escaped."""
    return text.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
