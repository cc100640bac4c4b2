"""What a page is asked: the query of its address, as text, and as what the text means."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping, Sequence

from fourfold.errors import InputError
from fourfold.model import DAY, HOUR, Owner, Window, is_before_end, length, when
from fourfold.query.counts import CurrentCounts
from fourfold.query.filtered import ALL_RECORDS, Filter
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.result import Result
from fourfold.query.target import Target
from fourfold.query.windows import data_end

_DOTS = re.compile(r"~*\.{1,2}")
_EVERY = (("1h", HOUR, 4 * DAY), ("1d", DAY, 190 * DAY), ("1w", 7 * DAY, 3 * 366 * DAY), ("4w", 28 * DAY, 0))
MOST = 1_000  # rows that a list answers at once


@dataclasses.dataclass(frozen=True)
class Asked:
    """The query of a page's address; empty where it does not say.

    ``start`` and ``end`` are moments, or lengths: "-7d" is so long before the end, and before the end of the data.
    ``where`` are the records that are meant: only some slices, or all without some.
    """

    start: str = ""
    end: str = ""
    every: str = ""
    by: tuple[str, ...] = ()
    where: Filter = ALL_RECORDS
    metric: str = ""
    against: str = ""
    order: str = ""
    limit: int = 100
    offset: int = 0
    more: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what only one page knows

    @staticmethod
    def of(query: Sequence[tuple[str, str]]) -> Asked:
        """The query's meaning.

        Raises:
            InputError: a value does not fit; the message names the field and the value.
        """
        several: dict[str, list[str]] = {}
        for name, value in query:
            several.setdefault(name, []).append(value)
        one = {name: values[-1] for name, values in several.items()}
        texts = {name: one.pop(name, "") for name in ("start", "end", "every", "metric", "against", "order")}
        return Asked(
            **texts, by=tuple(sorted(set(several.get("by", ())))),
            where=Filter.of(several.get("only", ()), several.get("without", ())),
            limit=_whole(one.pop("limit", "100"), "limit", MOST),
            offset=_whole(one.pop("offset", "0"), "offset", 10**9),
            more={name: value for name, value in one.items() if name not in ("by", "only", "without")},
        )  # fmt: skip

    def window(self, reader: Reader, owner: Owner, now: float, *, default: str = "") -> Shown:
        """The window in which a page shows an owner, in whole hours or days.

        ``default`` is where it starts if the query does not say, such as "-90d"; without it, where the data start.

        Raises:
            InputError: a value is no moment or length, or nothing is between the two.
        """
        source = CurrentCounts(reader, owner)
        days, hours = source.span(DAY), source.span(HOUR)
        if days is None:
            first, last = (int(now) // DAY * DAY - DAY, int(now) // DAY * DAY)
            until = last
        else:
            first, last, until = days[0], data_end(source, HOUR), data_end(source, HOUR, now)
        end = when(self.end, "end", until) if self.end else until
        start = when(self.start or default, "start", end) if self.start or default else first
        if not self.start:
            start = max(start, min(first, end - HOUR))
        if start >= end:
            raise InputError(f"the window is empty: start={self.start!r} is not before end={self.end!r}")
        every = self.every or next(e for e, _, longest in _EVERY if end - start <= longest or not longest)
        kept = hours[0] if hours is not None else last
        if every.endswith("h") and start < kept and not (days is not None and days[0] >= kept // DAY * DAY):
            every = "1d" if not self.every else every
        unit = HOUR if every.endswith("h") else DAY
        last_end = -(-end // unit) * unit
        if is_before_end(self.start or default) and unit == DAY:  # whole days, as many as asked for
            start = last_end - (end - start)
        window = Window(start // unit * unit, last_end)
        return Shown(window, every, first, last, relative=self.end == "" or is_before_end(self.end))


@dataclasses.dataclass(frozen=True)
class Shown:
    """The window of a page, the length of its parts, and from when to when there are data."""

    window: Window
    every: str
    data_start: int
    data_end: int
    relative: bool

    @property
    def step(self) -> int:
        """The length of a part in seconds."""
        return length(self.every, "every")

    def metric(
        self,
        reader: Reader,
        target: str | Target,
        name: str,
        *,
        whole: bool = False,
        by: Sequence[str] = (),
        where: Filter = ALL_RECORDS,
        estimate: bool = False,
    ) -> Result:
        """A metric in each part of the window, or in the ``whole`` of it."""
        every = None if whole else self.every
        start, end = self.window.start, self.window.end
        return metric(
            reader, target, name, start=start, end=end, every=every, by=by or None, where=where, estimate=estimate
        )


def path(*parts: str, **query: str | Sequence[str]) -> str:
    """The address of a page: "/columns/predict/score".

    >>> path("columns", "a/b", "c d"), path("trace", key="x&y"), path("streams", "..")
    ('/columns/a%2Fb/c%20d', '/trace?key=x%26y', '/streams/~..')
    """
    place = "/".join(urllib.parse.quote(_marked(part).encode("utf-8", "replace"), safe="") for part in parts)
    pairs = [(name, one) for name, values in query.items() for one in ([values] if isinstance(values, str) else values)]
    shown = urllib.parse.urlencode(
        [(name, value.encode("utf-8", "replace")) for name, value in pairs if value], quote_via=urllib.parse.quote
    )
    return f"/{place}?{shown}" if shown else f"/{place}"


def unmarked(part: str) -> str:
    """The name that a part of an address stands for.

    >>> unmarked("~.."), unmarked("~~."), unmarked("~a")
    ('..', '~.', '~a')
    """
    return part[1:] if _DOTS.fullmatch(part) and part.startswith("~") else part


def _marked(name: str) -> str:
    """A name as a part of an address: browsers take "." and ".." for steps, percent-encoded too, so these get a "~"."""
    return f"~{name}" if _DOTS.fullmatch(name) else name


def _whole(text: str, field: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise InputError(f"{field}={text!r}: give a whole number, at most {most:,}")
    return int(text)
