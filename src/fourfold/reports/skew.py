"""The same columns in two places: train/serve skew from counts, and online/offline discrepancies key by key."""

from __future__ import annotations

from collections.abc import Sequence

from fourfold.engine import Discrepancy
from fourfold.errors import InputError, suggest
from fourfold.metrics.skew import ColumnSkew, column_skew
from fourfold.model import DAY, Owner, Window
from fourfold.model.records import users
from fourfold.query.counts import EVER, CurrentCounts, totals
from fourfold.query.reader import Reader
from fourfold.query.result import Moment
from fourfold.query.table import Table
from fourfold.query.windows import bounds
from fourfold.state import catalogue


def skew(
    reader: Reader, reference: str, current: str, *, start: Moment | None = None, end: Moment | None = None
) -> Table[ColumnSkew]:
    """The differences between two streams that should be alike, column by column, the worst first.

    The arguments are those of ``ff.skew``; ``reader`` is where to look.

    Raises:
        UnknownNameError: no such stream; the message lists the known ones.
        InputError: the window is empty or not in whole days.
    """
    window = _window(reader, current, start, end)
    for stream in (reference, current):
        _known(reader, stream)
    there, here = totals(reader, reference), totals(reader, current, window)
    found = [column_skew(name, here.get(name, {}), there.get(name, {})) for name in sorted({*here, *there})]
    return Table(sorted(found, key=lambda entry: -entry.severity), _columns)


def discrepancies(
    reader: Reader,
    reference: str,
    current: str,
    *,
    columns: Sequence[str] | None = None,
    relative: float = 1e-6,
    absolute: float = 0.0,
    examples: int = 5,
) -> Table[Discrepancy]:
    """The same keys in two streams, such as features computed online and offline, compared value by value.

    If a key has several records, the newest by log time counts. The first row (column "") compares the keys
    themselves; then each column that both have, the worst first. Reads the log.

    The arguments are those of ``ff.discrepancies``; ``reader`` is where to look.

    Raises:
        UnknownNameError: no such stream or column.
        InputError: a stream has no keys, or a tolerance is negative.
    """
    if min(relative, absolute) < 0 or examples < 0:
        raise InputError(f"relative={relative}, absolute={absolute}, examples={examples}: give nothing below zero")
    logs = []
    for stream in (current, reference):
        _known(reader, stream)
        log = reader.log(stream).whole()
        if not log.added:
            raise InputError(f"stream {stream!r} is counted but not logged; log its records with ff.log and a key")
        logs.append(log)
    names = [users(log.schema.names) for log in logs]
    shared = [name for name in names[0] if name in names[1]]
    for column in columns or ():
        if column not in shared:
            raise suggest(f"column of both {reference!r} and {current!r}", column, shared)
    found = reader.engine.discrepancies(logs[0], logs[1], list(columns or shared), relative, absolute, examples)
    return Table([found[0], *sorted(found[1:], key=lambda entry: -entry.wrong)])


def _columns(entry: ColumnSkew) -> dict[str, object]:
    """A column's row in the table: the findings, and each distance with its expected value under no change."""
    row: dict[str, object] = {"column": entry.column, "findings": entry.words, "severity": entry.severity}
    for name, value in entry.distances.items():
        row |= {name: value.value, f"{name}_expected": value.expected}
    return row


def _known(reader: Reader, stream: str) -> None:
    with reader.database.read() as connection:
        known = catalogue.streams(connection, reader.project)
    if stream not in known:
        raise suggest("stream", stream, list(known))


def _window(reader: Reader, stream: str, start: Moment | None, end: Moment | None) -> Window:
    found = bounds(CurrentCounts(reader, Owner.of_stream(stream)), DAY, start, end)
    for name, moment, at in zip(("start", "end"), (start, end), found, strict=True):
        if at is not None and at % DAY:
            raise InputError(f"{name}={moment!r}: give a whole day (UTC)")
    first, last = (at if at is not None else ever for at, ever in zip(found, (EVER.start, EVER.end), strict=True))
    if first >= last:
        raise InputError(f"the window is empty: start={start!r} is not before end={end!r}")
    return Window(first, last)
