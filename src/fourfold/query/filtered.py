"""Some records only: those in some slices, or all without some. Counts add up, so that slices do."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from fourfold import counts
from fourfold.counts import Panel
from fourfold.counts.binning import Binning
from fourfold.errors import InputError
from fourfold.model import MOST_SLICES, OTHER, Series, slice_key
from fourfold.query.counts import OwnerCounts
from fourfold.state.series import LAST

Values = frozenset[str | None]
_Slice = tuple[str | None, ...]  # its values, in the order of their names


@dataclasses.dataclass(frozen=True)
class Filter:
    """The records that are meant, by the names of slices: those with one of some values, or with none of some."""

    only: tuple[tuple[str, Values], ...] = ()
    without: tuple[tuple[str, Values], ...] = ()

    @staticmethod
    def of(only: Sequence[str], without: Sequence[str]) -> Filter:
        """From texts such as "carrier=AA"; "carrier" alone are the records that have none (see ``chosen``).

        Raises:
            InputError: a text has no name.
        """
        return Filter(_pairs(only, "only"), _pairs(without, "without"))

    @property
    def names(self) -> frozenset[str]:
        """The names that it is about."""
        return frozenset(name for name, _ in (*self.only, *self.without))

    def __bool__(self) -> bool:
        return bool(self.only or self.without)

    @property
    def is_empty(self) -> bool:
        """Whether no record can be meant: a name is to have a value and none of those that it may have."""
        left = dict(self.without)
        return any(values <= left.get(name, frozenset()) for name, values in self.only)

    def __and__(self, other: Filter) -> Filter:
        """The records that both mean."""
        only, without = dict(self.only), dict(self.without)
        for name, values in other.only:
            only[name] = only.get(name, values) & values
        for name, values in other.without:
            without[name] = without.get(name, values) | values
        return Filter(tuple(sorted(only.items())), tuple(sorted(without.items())))

    def __str__(self) -> str:
        return ", ".join([*_words("only", self.only), *_words("without", self.without)])

    def fits(self, values: Mapping[str, str | None]) -> bool:
        """Whether a slice, which has all its names, is meant."""
        return all(values[name] in wanted for name, wanted in self.only) and not any(
            values[name] in left for name, left in self.without
        )


ALL_RECORDS = Filter()


class Meant:
    """Which slices of an owner a filter means, as far as its counts can tell.

    A dimension with too many values counts those beyond the most frequent together (``OTHER``), and nothing tells what
    is in there but that none of the others is. So a filter is answered where all that it means, or all that it leaves
    out, has counts of its own; and of slices by further names, those are, of which that holds.
    """

    def __init__(self, series: Iterable[Series], where: Filter) -> None:
        self._where = where
        self._known: dict[tuple[str, ...], dict[_Slice, str]] = {}
        for text in dict.fromkeys(entry.slice for entry in series):
            values = json.loads(text)
            names = tuple(sorted(values))
            self._known.setdefault(names, {})[tuple(values[name] for name in names)] = text
        self._texts: dict[tuple[str, ...], frozenset[str]] = {}

    def check(self, owner: str, by: Sequence[str]) -> None:
        """Reject a filter that the counts cannot tell apart, or not together with the names of the slices asked for.

        Raises:
            InputError: the message names what is counted.
        """
        names = tuple(sorted(self._where.names | set(by)))
        if names not in self._known:
            listed = ", ".join(sorted(" × ".join(known) for known in self._known if known)) or "none"
            raise InputError(
                f"{' × '.join(names)}: {owner} is not counted by these together; declare them as one of its slices. "
                f"It is counted by: {listed}"
            )
        if not self._can_tell(names):
            raise InputError(
                f"{self._where}: more than {MOST_SLICES} values of {' × '.join(names)} were seen, and those beyond are "
                f"counted together as {OTHER!r}, which may hold both what is meant and what is not. Choose values that "
                "have a slice of their own, or declare a slice with fewer values"
            )

    def holds(self, entry: Series) -> bool:
        """Whether a slice is meant."""
        names = entry.names
        if names not in self._texts:
            self._texts[names] = frozenset(self._meant(names)) if self._where.names <= set(names) else frozenset()
        return entry.slice in self._texts[names]

    def _meant(self, names: tuple[str, ...]) -> Iterator[str]:
        """The slices of a dimension that are meant."""
        known = self._known[names]
        fitting = [v for v in known if self._where.fits(dict(zip(names, v, strict=True)))]
        if len(names) == 1 or not self._is_cut(names):
            yield from (known[values] for values in fitting)
        elif (needed := self._needed()) is not None:
            own = sorted(self._where.names)
            chosen_ones = [dict(zip(own, values, strict=True)) for values in needed]
            for values in fitting:
                here = dict(zip(names, values, strict=True))
                alike = (tuple({**here, **one}[name] for name in names) for one in chosen_ones)
                if values != (OTHER,) * len(names) and all(one in known for one in alike):
                    yield known[values]

    def _can_tell(self, names: tuple[str, ...]) -> bool:
        known = self._known[names]
        if not self._is_cut(names):
            return True
        if len(names) == 1:
            return all((value,) in known for _, values in (*self._where.only, *self._where.without) for value in values)
        needed = self._needed()
        return needed is not None and (set(names) != self._where.names or all(values in known for values in needed))

    def _is_cut(self, names: tuple[str, ...]) -> bool:
        """Whether a dimension has values that are counted together."""
        return (OTHER,) * len(names) in self._known[names]

    def _needed(self) -> list[_Slice] | None:
        """All that the filter means, by its names in order; None where it may mean values that nobody has listed."""
        each = []
        for name in sorted(self._where.names):
            listed = [values for own, values in self._where.only if own == name]
            if not listed:
                domain = self._known.get((name,))
                if domain is None or self._is_cut((name,)):
                    return None
                listed = [frozenset(value for (value,) in domain)]
            left = [values for own, values in self._where.without if own == name]
            each.append(frozenset.intersection(*listed).difference(*left))
        if math.prod(map(len, each)) > max(map(len, self._known.values())):
            return None  # more than any dimension has
        return list(itertools.product(*each))


class FilteredCounts:
    """An owner's counts of some records only; see ``OwnerCounts``.

    Where a dimension has the filter's names and others, its slices that fit are added up over the filter's names.

    Args:
        source: the owner's counts.
        owner: what errors call it.
        where: the records that are meant.
        by: the names of the slices that are asked for.

    Raises:
        InputError: see ``Meant.check``.
    """

    def __init__(self, source: OwnerCounts, owner: str, where: Filter, by: Sequence[str] = ()) -> None:
        self._source, self._names = source, where.names
        self._parts: dict[int, list[Series]] = {}
        ids: dict[tuple[str, str, str], int] = {}
        self._series: list[Series] = []
        meant = Meant(source.series(), where)
        meant.check(owner, by)
        for entry in source.series():
            if not meant.holds(entry):
                continue
            for key in {entry.slice, self._projected(entry.slice)}:
                place = (entry.column, entry.kind, key)
                if place not in ids:
                    ids[place] = len(ids)
                    self._series.append(Series(ids[place], *place))
                self._parts.setdefault(ids[place], []).append(entry)

    def series(self) -> list[Series]:
        """See ``OwnerCounts``."""
        return self._series

    def counts(self, wanted: Sequence[Series], level: int, start: int, end: int) -> pa.Table:
        """See ``OwnerCounts``."""
        table = self._source.counts(self._under(wanted), level, start, end)
        if not table.num_rows:
            return table
        keys = self._keys(wanted)
        index = table.schema.get_field_index("slice")
        moved = pa.array([keys[text] for text in table["slice"].to_pylist()], table.schema.field(index).type)
        return counts.rebucket(table.set_column(index, table.schema.field(index), moved), table["bucket"].to_numpy())

    def panel(self, wanted: Sequence[Series], level: int, start: int, end: int, *, bins: bool) -> Panel:
        """See ``OwnerCounts``."""
        panel = self._source.panel(self._under(wanted), level, start, end, bins=bins)
        if not len(panel):
            return panel
        keys = self._keys(wanted)
        ids = {key: i for i, key in enumerate(dict.fromkeys(keys.values()))}
        places = [ids[keys[panel.slices[id_]]] for id_ in panel.series.tolist()]
        slices = {i: key for key, i in ids.items()}
        moved = dataclasses.replace(panel, slices=slices, series=pa.array(places, pa.int64()).to_numpy())
        return moved.rebucket(moved.buckets)

    def span(self, level: int, before: int = LAST) -> tuple[int, int] | None:
        """See ``OwnerCounts``."""
        return self._source.span(level, before)

    def binnings(self) -> dict[tuple[str, int], Binning]:
        """See ``OwnerCounts``."""
        return self._source.binnings()

    def is_identifier(self, column: str) -> bool:
        """See ``OwnerCounts``."""
        return self._source.is_identifier(column)

    def _under(self, wanted: Sequence[Series]) -> list[Series]:
        return list(dict.fromkeys(part for entry in wanted for part in self._parts[entry.id]))

    def _keys(self, wanted: Sequence[Series]) -> dict[str, str]:
        """The slice in which each slice of the source is counted."""
        return {part.slice: entry.slice for entry in wanted for part in self._parts[entry.id]}

    def _projected(self, text: str) -> str:
        return slice_key({name: value for name, value in json.loads(text).items() if name not in self._names})


def chosen(name: str, value: str | None) -> str:
    """A slice as ``Filter.of`` reads it: "carrier=AA"; in a name, "=" is "%3D", and "%" is "%25".

    >>> chosen("carrier", "a=b"), chosen("x=y", None)
    ('carrier=a=b', 'x%3Dy')
    """
    name = name.replace("%", "%25").replace("=", "%3D")
    return name if value is None else f"{name}={value}"


def _pairs(texts: Sequence[str], field: str) -> tuple[tuple[str, Values], ...]:
    found: dict[str, set[str | None]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InputError(f"{field}={text!r}: give a name and a value, such as {field}=carrier=AA")
        found.setdefault(name.replace("%3D", "=").replace("%25", "%"), set()).add(value if equals else None)
    return tuple((name, frozenset(values)) for name, values in sorted(found.items()))


def _words(what: str, pairs: tuple[tuple[str, Values], ...]) -> list[str]:
    return [f"{what} {name}={'/'.join(sorted(map(str, values)))}" for name, values in pairs]
