"""Which messages were taken: of each writer, the numbers of its messages.

A writer numbers its messages from 1 on, so that a row for each writer is enough: ranges of numbers, one where none was
left out. It grows with the number of processes of the last days, and not with what they send.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
import math
from collections.abc import Collection, Iterable

import sqlalchemy as sa

from fourfold.state.database import readable
from fourfold.state.statements import chunked, insert_missing, upsert
from fourfold.state.tables import once, taken

LASTING = 31 * 86_400.0  # seconds for which it is noted: what a spool kept for longer, and was taken, counts again
ONCE_LASTING = 86_400.0  # seconds for which what a sender named counts once
MOST_ONCE = 1_000_000  # of these, the newest that are noted
Connection = sa.Connection


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A set of numbers, as ranges: sorted, apart from each other, the first and the last of each included."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        """Whether a number is in it.

        >>> 3 in Numbers(((1, 3), (7, 7))), 4 in Numbers(((1, 3), (7, 7)))
        (True, False)
        """
        at = bisect.bisect_right(self.ranges, (number, float("inf"))) - 1
        return at >= 0 and number <= self.ranges[at][1]

    def adding(self, numbers: Iterable[int]) -> Numbers:
        """With more numbers.

        >>> Numbers(((1, 3), (7, 7))).adding([4, 9, 6]).ranges
        ((1, 4), (6, 7), (9, 9))
        """
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, *((number, number) for number in numbers)]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        return Numbers(tuple(merged))


def of(connection: Connection, writers: Collection[str]) -> dict[str, Numbers]:
    """The numbers that were taken of some writers, of those of which there are any."""
    found = {}
    for batch in chunked(sorted(writers)):
        for row in connection.execute(sa.select(taken).where(taken.c.writer.in_(batch))):
            with readable("which messages were taken"):
                found[row.writer] = Numbers(tuple((int(first), int(last)) for first, last in json.loads(row.numbers)))
    return found


def note(connection: Connection, messages: Iterable[tuple[str, int]], now: float) -> None:
    """Note that messages, each its writer and its number, were taken; again, it is noted for as long once more."""
    by_writer: dict[str, list[int]] = {}
    for writer, number in messages:
        by_writer.setdefault(writer, []).append(number)
    known = of(connection, by_writer)
    rows = [
        {"writer": writer, "numbers": json.dumps(known.get(writer, Numbers()).adding(numbers).ranges), "at": now}
        for writer, numbers in by_writer.items()
    ]
    if rows:
        upsert(connection, taken, rows)


def claim(connection: Connection, names: Iterable[tuple[str, str]], now: float) -> dict[str, str]:
    """Let each name, given with the message that brings it, count in the first message that ever claimed it.

    Returns in which message each of the names counts.
    """
    listed = list(names)
    first = dict(reversed(listed))
    insert_missing(connection, once, [{"name": name, "message": m, "at": now} for name, m in first.items()])
    found = {}
    for batch in chunked(sorted(first)):
        query = sa.select(once.c.name, once.c.message).where(once.c.name.in_(batch))
        found.update({row.name: row.message for row in connection.execute(query)})
    return found


def oldest(connection: Connection) -> float:
    """When something need not be noted any more, in seconds since 1970; infinity where nothing is."""
    ends = (
        (connection.scalar(sa.select(sa.func.min(table.c.at))), lasting)
        for table, lasting in ((taken, LASTING), (once, ONCE_LASTING))
    )
    return min((at + lasting for at, lasting in ends if at is not None), default=math.inf)


def forget(connection: Connection, now: float) -> None:
    """Forget the writers of which nothing was seen for days, and the names that are old or too many."""
    connection.execute(sa.delete(taken).where(taken.c.at < now - LASTING))
    connection.execute(sa.delete(once).where(once.c.at < now - ONCE_LASTING))
    newest = sa.select(once.c.at).order_by(once.c.at.desc()).offset(MOST_ONCE).limit(1)
    if (beyond := connection.scalar(newest)) is not None:
        connection.execute(sa.delete(once).where(once.c.at <= beyond))
