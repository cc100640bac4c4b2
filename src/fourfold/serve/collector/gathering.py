"""Records of several requests as the messages of one process, prepared exactly as ``ff.log`` prepares them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from fourfold.log import messages
from fourfold.log.wire import written
from fourfold.model import Plausible
from fourfold.sdk.batch import Found, from_records
from fourfold.sdk.host import error_text
from fourfold.sdk.record import Record

Message = tuple[str, bytes]  # its id, and its file's bytes


@dataclasses.dataclass
class Given:
    """The records of one request to a stream.

    ``size`` is about how many bytes they take. ``once`` names runs of them that count once, each by the first one's
    number and how many they are. ``places`` are their places in the request, and ``spoiled`` says at which of these is
    what is no record, as text and with the reason. Once they were prepared, ``rejected`` says which of the places go
    to quarantine, and why, and ``mistakes`` how many times are wrong in which way, whose records count as of now.
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
    """The messages of some requests: one for all of a stream, where nothing is wrong with any of them."""
    for given in several:
        for place, (text, reason) in given.spoiled.items():
            given.rejected[place] = reason
            yield (
                new_id(),
                written(messages.rejected(given.project, given.stream, reason), pa.table({"record": [text]})),
            )
    several = sorted(several, key=lambda given: repr(given.together))
    for _, group in itertools.groupby(several, key=lambda given: given.together):
        alike = [given for given in group if given.records]
        if alike and (whole := _plain(alike, times)) is not None:
            _note(alike, whole)
            yield _message(alike[0], whole, _joined(alike), new_id())
            continue
        for given in alike:  # what is wrong with one of them changes nothing for another
            if (own := _plain([given], times)) is not None:
                _note([given], own)
                yield _message(given, own, given.once, new_id())
            else:
                yield from _one_by_one(given, times, new_id)


def _plain(alike: Sequence[Given], times: Plausible) -> Found | None:
    """All their records as one batch; None where they are none."""
    found = from_records([record for given in alike for record in given.records], times)
    return found if len(found) == 1 and found[0][1] is None else None


def _note(alike: Sequence[Given], whole: Found) -> None:
    """Note with each request the times of its records that are wrong."""
    mistakes = whole[0][0].mistakes
    if mistakes:
        of = [given for given in alike for _ in given.records]
        for place, how in mistakes:
            of[place].mistakes[how] += 1


def _joined(alike: Sequence[Given]) -> list[tuple[str, int, int]]:
    names, at = [], 0
    for given in alike:
        names += [(name, at + first, rows) for name, first, rows in given.once]
        at += len(given.records)
    return names


def _one_by_one(given: Given, times: Plausible, new_id: Callable[[], str]) -> Iterator[Message]:
    """The messages of a request whose records are not all alike, or not all fit to be logged."""
    good = []
    for number, record in enumerate(given.records):
        [(prepared, error), *_] = from_records([record], times)
        if error is None:
            good.append(number)
            given.mistakes.update(how for _, how in prepared.mistakes)
            continue
        given.rejected[given.places[number]] = error_text(error)
        header = messages.rejected(given.project, given.stream, error_text(error))
        yield new_id(), written(header, prepared.table)
    if not given.once:
        for found in from_records([given.records[number] for number in good], times) if good else ():
            yield _message(given, [found], (), new_id())
        return
    for number in good:  # each a message of its own: by its row is told what counts once
        names = [
            (name if rows == 1 else f"{name}/{number - first}", 0, 1)
            for name, first, rows in given.once
            if first <= number < first + rows
        ]
        yield _message(given, from_records([given.records[number]], times), names, new_id())


def _message(given: Given, found: Found, once: Sequence[tuple[str, int, int]], message: str) -> Message:
    [(prepared, _)] = found
    header = messages.records(given.project, given.stream, prepared.key, prepared.time, once)
    return message, written(header, prepared.table)
