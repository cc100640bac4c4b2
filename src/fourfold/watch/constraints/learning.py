"""What was inferred of a project's columns, kept from check to check: a stream is seldom read whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from fourfold.model import DAY
from fourfold.query.reader import Reader
from fourfold.watch.constraints import inference
from fourfold.watch.constraints.declared import merged
from fourfold.watch.constraints.inference import Days
from fourfold.watch.constraints.reading import Columns, columns, labels
from fourfold.watch.constraints.rule import Constraint, Rule, Status

_FORMAT = 3


@dataclasses.dataclass(frozen=True, slots=True)
class _Stream:
    """The constraints of a stream as of so many days from ``first`` on; more than ``again`` may bring others."""

    first: int
    days: int
    again: int
    constraints: tuple[Constraint, ...]


class Learned:
    """The constraints that were inferred of a project's streams. ``to_bytes`` keeps them for the next process."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._bytes: bytes | None = None  # as long as nothing was learned since

    def copy(self) -> Learned:
        """The same, that may learn more."""
        found = Learned()
        found._streams, found._bytes = dict(self._streams), self._bytes
        return found

    def constraints(self, reader: Reader, stream: str, buckets: Sequence[int]) -> tuple[Constraint, ...]:
        """The constraints of a stream that has data on these days, inferred again if that may change them."""
        if not buckets:
            return ()
        known = self._streams.get(stream)
        if known is None or buckets[0] != known.first or not known.days <= len(buckets) < known.again:
            found = tuple(merged(infer(reader, columns(reader, stream))))
            known = _Stream(buckets[0], len(buckets), _again(len(buckets)), found)
            self._streams[stream], self._bytes = known, None
        return known.constraints

    def to_bytes(self) -> bytes:
        """As bytes, for the state."""
        if self._bytes is None:
            written = {name: _plain(stream) for name, stream in self._streams.items()}
            text = json.dumps({"format": _FORMAT, "streams": written}, ensure_ascii=False)
            self._bytes = text.encode("utf-8", "backslashreplace")
        return self._bytes

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Learned:
        """The inverse of ``to_bytes``; without data, or with those of another version, all is learned anew."""
        learned = cls()
        try:
            written = json.loads(data) if data else {}
            if written.get("format") == _FORMAT:
                learned._streams = {name: _stream(name, fields) for name, fields in written["streams"].items()}
                learned._bytes = data
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return learned


def _plain(stream: _Stream) -> list[Any]:
    """A stream's constraints for JSON: a line of values each, as there are several of each column."""
    lines = [
        (c.column, c.rule, c.status, c.limit, c.values, c.n, c.buckets, c.needed, c.since) for c in stream.constraints
    ]
    return [stream.first, stream.days, stream.again, lines]


def _stream(name: str, plain: list[Any]) -> _Stream:
    first, days, again, lines = plain
    found = tuple(
        Constraint(name, column, Rule(rule), Status(status), limit, tuple(values), *rest)
        for column, rule, status, limit, values, *rest in lines
    )
    return _Stream(first, days, again, found)


def _again(days: int) -> int:
    """The number of days at which some rule may be confirmed, each of which doubles its own."""
    ends = {k * 2**i for k in (2 * inference.FEW_DAYS, 2 * inference.DAYS) for i in range(16)}
    return min((end for end in ends if end > days), default=days + inference.MOST_DAYS)


def infer(reader: Reader, known: Columns) -> list[Constraint]:
    """The constraints that a stream's columns suggest."""
    stream, found = known.stream, []
    numbers = {column for column, kind in known.days if kind == "numeric"}
    few = {
        p: s for p, s in known.series.items() if p[1] == "category" and known.most.get(p, 0) <= inference.MOST_VALUES
    }
    values = labels(reader, list(few.values()))
    for (column, kind), days in known.days.items():
        match kind:
            case "stream" if reader.log(stream).is_begun:  # the records of a frame have no keys
                found += inference.unique_keys(stream, days)
            case "numeric":
                found += inference.numeric(stream, column, days)
            case "category" if (place := few.get((column, kind))) is not None:
                found += inference.categories(stream, column, values.get(place.id, []))
        if kind in ("category", "opaque") and column not in numbers:
            found += inference.missing(stream, column, days)
    return found + _types(known)


def _types(known: Columns) -> list[Constraint]:
    """The kinds of values that columns had from the start."""
    found = []
    for column, by_kind in known.by_column.items():
        several = {kind: days for kind, days in by_kind.items() if kind != "stream"}
        if not several:
            continue
        buckets = sorted({bucket for days in several.values() for bucket in days.buckets.tolist()})
        first = buckets[: 2 * inference.FEW_DAYS]
        kinds = tuple(sorted(kind for kind, days in several.items() if _has_values(days, first[-1])))
        n = sum(int(days.rows[days.buckets <= first[-1]].sum()) for days in several.values())
        if len(first) == 2 * inference.FEW_DAYS and kinds and n >= 2 * inference.RECORDS:
            found.append(Constraint(known.stream, column, Rule.TYPE, Status.ACTIVE, values=kinds, n=n,
                                    buckets=len(first), needed=len(first), since=float(first[-1] + DAY)))  # fmt: skip
    return found


def _has_values(days: Days, last: int) -> bool:
    return bool((days.rows > days.missing)[days.buckets <= last].any())
