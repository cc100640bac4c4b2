"""Records of several requests as the messages of one process, prepared exactly as ``ff.log`` prepares them."""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from fourfold.log import messages
from fourfold.log.wire import written
from fourfold.model import Plausible
from fourfold.sdk.batch import Prepared, from_records, rejected
from fourfold.sdk.host import summary
from fourfold.sdk.record import Record

Message = tuple[str, bytes]  # its id, and its file's bytes


@dataclasses.dataclass
class Given:
    """The records of one request to a stream.

    ``size`` is about how many bytes they take. ``once`` names runs of them that count once, in their order, each by the
    first one's number and how many they are. ``places`` are their places in the request, and ``spoiled`` says at which
    of these is what is no record, as text and with the reason. Once they were prepared, ``rejected`` says which of the
    places go to quarantine, and why, and ``mistakes`` how many times are wrong in which way, whose records count as of
    now.
    """

    project: str
    stream: str
    records: Sequence[Record]
    size: int
    once: Sequence[tuple[str, int, int]] = ()
    places: Sequence[int] = ()
    spoiled: Mapping[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    rejected: dict[int, str] = dataclasses.field(default_factory=dict)
    mistakes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def rows(self) -> int:
        """How many records the request has, with those that are none."""
        return len(self.records) + len(self.spoiled)

    @property
    def together(self) -> tuple[object, ...]:
        """What the records of one message have in common: key and time, where they are names of columns."""
        first = self.records[0] if self.records else None
        named = (first.key, first.time) if first is not None and first.data is not None else ()
        return self.project, self.stream, named


def gather(several: Sequence[Given], times: Plausible, new_id: Callable[[], str]) -> Iterator[Message]:
    """The messages of some requests: one for all of a stream, where nothing is wrong with any of them.

    What is wrong with one of them changes nothing for another: then each has messages of its own, and one of what is no
    record, or cannot be logged.
    """
    several = sorted(several, key=lambda given: repr(given.together))
    for _, group in itertools.groupby(several, key=lambda given: given.together):
        alike = [given for given in group if given.rows]
        found = _whole(alike, times)
        if found is not None:
            _note(alike, found)
            yield _message(alike[0], found, _joined(alike), new_id())
            continue
        for given in alike:
            yield from _apart(given, times, new_id)


def _whole(alike: Sequence[Given], times: Plausible) -> Prepared | None:
    """All their records as one batch; None where they are none."""
    if len(alike) < 2 or any(given.spoiled for given in alike):
        return None
    found = from_records([record for given in alike for record in given.records], times)
    return found[0][0] if len(found) == 1 and found[0][1] is None else None


def _note(alike: Sequence[Given], whole: Prepared) -> None:
    """Note with each request the times of its records that are wrong."""
    if whole.mistakes:
        of = [given for given in alike for _ in given.records]
        for place, how in whole.mistakes:
            of[place].mistakes[how] += 1


def _joined(alike: Sequence[Given]) -> list[tuple[str, int, int]]:
    names, at = [], 0
    for given in alike:
        names += [(name, at + first, rows) for name, first, rows in given.once]
        at += len(given.records)
    return names


def _apart(given: Given, times: Plausible, new_id: Callable[[], str]) -> Iterator[Message]:
    """The messages of one request."""
    places, aside = list(given.spoiled), list[pa.Table]()
    if given.spoiled:
        spoiled, reasons = zip(*given.spoiled.values(), strict=True)
        aside.append(rejected(spoiled, [None] * len(spoiled), reasons))
    for prepared, error in from_records(given.records, times):
        if error is None:
            given.mistakes.update(how for _, how in prepared.mistakes)
            yield _message(given, prepared, list(_named(given, prepared.places)), new_id())
        else:
            places += [given.places[number] for number in prepared.places]
            aside.append(prepared.table)
    if places:
        texts = pa.concat_tables(aside)
        reasons = texts["reason"].to_pylist()
        given.rejected.update(zip(places, reasons, strict=True))
        yield new_id(), written(messages.rejected(given.project, given.stream, summary(reasons)), texts)


def _named(given: Given, numbers: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """What counts once of a request in a message that holds some of its records, in their order, by their numbers.

    Where others hold the rest of it, it is named by the first record that is here: a request that is sent again is
    parted in the same way.
    """
    at = 0
    while at < len(numbers):
        place = bisect.bisect_right(given.once, numbers[at], key=lambda named: named[1]) - 1
        name, first, rows = given.once[place] if place >= 0 else ("", 0, 0)
        end = bisect.bisect_left(numbers, first + rows, at)
        if end > at:
            yield name if rows == end - at else f"{name}/{numbers[at] - first}", at, end - at
        at = max(end, at + 1)


def _message(given: Given, prepared: Prepared, once: Sequence[tuple[str, int, int]], message: str) -> Message:
    header = messages.records(given.project, given.stream, prepared.key, prepared.time, once)
    return message, written(header, prepared.table)
