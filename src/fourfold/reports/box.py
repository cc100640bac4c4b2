"""What is different inside: every column, slice, version and run parameter of two sets of records, ranked.

The measure of a difference is an effect, ``shapes.effect``, which more records make surer but not larger. The order is
by the lower end of its interval, so that neither few records nor many lead, less what is usual: by how much one half of
the baseline differs from the other, so that what is never the same, such as a date, does not lead either. All of it is
read off counts. Runs are few, and all there are: what they differ in is exact, ``shapes.apart``.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fourfold.counts import Counts
from fourfold.errors import InputError
from fourfold.metrics import quality
from fourfold.model import HOUR, Owner, Run, RunStatus, Window, percent
from fourfold.query.counts import pooled
from fourfold.query.filtered import ALL_RECORDS, Filter
from fourfold.query.reader import Reader
from fourfold.query.together import Stretch, slices_of, together
from fourfold.reports.shapes import Effect, Groups, apart, between, drawn, names, of_names
from fourfold.state import catalogue, runs
from fourfold.state.series import FIRST

Together = Mapping[tuple[str, str, str], Counts]  # by stream, column and kind
_RUNS = 10_000  # of a component that are looked at, in each stretch
_VALUES = 60  # values of a parameter
_FEW = 5  # runs of the baseline, below which nobody can tell what is usual
_OWN = 0.9  # of the runs have a value of their own: it names them, as an identifier does


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two sets of records differ in.

    ``kind`` is "column", "slice", "version", "parameter" or "records"; ``where`` the stream, or the component;
    ``name`` the column, dimension or parameter; ``value`` the slice's value that differs most, if it is one's.
    ``usual`` is by how much the halves of the baseline differ; ``inside`` and ``baseline`` are the numbers of records
    (or runs), ``counts`` those of a column, and ``drawn`` others in groups. ``presence`` is of whether records have the
    column at all: it is "gone" or "new", wholly or from some of them.
    """

    kind: str
    where: str
    name: str
    effect: Effect
    drawn: Groups | None
    inside: int
    baseline: int
    value: str | None = None
    usual: float = 0.0
    counts: tuple[Counts, Counts] | None = None
    presence: str = ""

    @property
    def sure(self) -> float:
        """By how much they differ for sure, beyond what is usual."""
        return self.effect.low - self.usual

    @property
    def is_known(self) -> bool:
        """Whether it can be told yet what is usual."""
        return self.kind != "parameter" or self.baseline >= _FEW

    @property
    def groups(self) -> Groups:
        """Both distributions, in the groups in which they are drawn."""
        return drawn(*self.counts) if self.counts is not None else self.drawn or Groups((), *np.zeros((2, 0)))

    @property
    def words(self) -> tuple[str, str]:
        """Both distributions in a few words."""
        if self.counts is not None:
            return words(self.counts[0]), words(self.counts[1])
        shown = self.groups
        inside, baseline = (
            dict(zip(shown.labels, side.tolist(), strict=True)) for side in (shown.inside, shown.baseline)
        )
        if self.kind == "parameter":
            return _heavy(inside) + _cut(self.inside), _heavy(baseline) + _cut(self.baseline)
        return _heavy(inside), _heavy(baseline)


@dataclasses.dataclass(frozen=True, slots=True)
class Sides:
    """The records inside, and those to compare them with, in two halves."""

    inside: Stretch
    baseline: tuple[Stretch, ...]
    where: Filter = ALL_RECORDS

    @property
    def compared_with(self) -> Window:
        """From when to when the baseline is counted."""
        return Window(self.baseline[0].start, self.baseline[-1].end)


def sides(inside: Window, baseline: Window, where: Filter = ALL_RECORDS, kept: int = FIRST) -> Sides:
    """Two stretches of time; the baseline leaves out what is inside, and is in days if its hours are no more kept.

    Raises:
        InputError: nothing is left of the baseline.
    """
    other = Stretch.of(baseline, kept).beside(inside) or Stretch(baseline.start, baseline.end, HOUR).beside(inside)
    if other is None:
        raise InputError("nothing is left to compare with: the baseline lies inside; give another with against=")
    middle = (other.start + other.end) // 2 // other.level * other.level
    halves = (dataclasses.replace(other, end=middle), dataclasses.replace(other, start=middle))
    return Sides(Stretch.of(inside), tuple(half for half in halves if half.start < half.end), where)


def differences(reader: Reader, chosen: Sides, streams: Sequence[str]) -> list[Difference]:
    """All differences, the largest that is sure first."""
    here = together(reader, streams, chosen.inside, chosen.where)
    halves = [together(reader, streams, half, chosen.where) for half in chosen.baseline]
    found = [*presences(here, halves), *ranked_columns(reader, here, halves)]
    if not chosen.where:
        found += _slices(reader, streams, chosen)
    found += _runs(reader, chosen)
    return ranked(found)


def records(reader: Reader, chosen: Sides, stream: str) -> tuple[int, int]:
    """How many records of a stream are inside, and how many they are compared with."""
    name = (stream, "", "stream")
    inside, baseline = (
        [together(reader, [stream], part, chosen.where, [""]) for part in side]
        for side in ([chosen.inside], chosen.baseline)
    )
    n, m = (sum(part[name].tally("rows") for part in side if name in part) for side in (inside, baseline))
    return n, m


def ranked(found: Iterable[Difference]) -> list[Difference]:
    """Differences, the largest that is sure and unusual first."""
    return sorted(found, key=lambda d: (-d.sure, -d.effect.value, d.where, d.name, d.kind))


def ranked_columns(reader: Reader, here: Together, parts: Sequence[Together]) -> list[Difference]:
    """The columns that both sets of records have, the second in parts; one counted in two ways as a number."""
    found = []
    numeric = {(stream, column) for stream, column, kind in here if kind == "numeric"}
    owners = tuple(Owner.of_stream(stream) for stream in sorted({stream for stream, _, _ in here}))
    plans = reader.recall(catalogue.plans, owners)
    for name, counted in here.items():
        stream, column, kind = name
        if not column or kind == "stream" or (kind != "numeric" and (stream, column) in numeric):
            continue
        if kind == "category" and plans[Owner.of_stream(stream)].identifier(column):
            continue
        several = [part[name] for part in parts if name in part]
        other = pooled(several)
        effect = between(counted, other)
        if effect is None or other is None:
            continue
        usual = between(*several) if len(several) == 2 else None
        found.append(
            Difference(
                "column", stream, column, effect, None, counted.tally("rows"), other.tally("rows"),
                usual=0.0 if usual is None else usual.value, counts=(counted, other),
            )
        )  # fmt: skip
    return found


def presences(here: Together, parts: Sequence[Together]) -> list[Difference]:
    """The columns that other shares of the records have, the second in parts: a frame's may vanish, or appear."""
    inside, several = _with_column(here), [_with_column(part) for part in parts]
    found = []
    for place in dict.fromkeys(place for side in (inside, *several) for place in side):
        stream, column = place
        rows, *others = (_rows(side, stream) for side in (here, *parts))
        m = sum(others)
        if not column or not rows or not m:
            continue
        n, *with_it = (side.get(place, 0) for side in (inside, *several))
        share, usual_share = n / rows, sum(with_it) / m
        if share == usual_share:
            continue
        a, b, *halves = (
            {"there": float(k), "not there": float(of - k)}
            for k, of in zip((n, sum(with_it), *with_it), (rows, m, *others), strict=True)
        )
        effect, groups = of_names(a, b)
        if {share, usual_share} == {0.0, 1.0}:
            effect = Effect(1.0, 1.0, 1.0)  # no matter of chance
        if effect.low > 0:
            usual = of_names(*halves)[0].value if len(halves) == 2 and all(others) else 0.0
            presence = "gone" if share < usual_share else "new"
            found.append(Difference("column", stream, column, effect, groups, rows, m, usual=usual, presence=presence))
    return found


def _with_column(side: Together) -> dict[tuple[str, str], int]:
    """How many records of a stream have each column, however it is counted."""
    found: dict[tuple[str, str], int] = {}
    for (stream, column, _), counted in side.items():
        found[stream, column] = max(found.get((stream, column), 0), counted.tally("rows"))
    return found


def _rows(side: Together, stream: str) -> int:
    return side[stream, "", "stream"].tally("rows") if (stream, "", "stream") in side else 0


def words(found: Counts) -> str:
    """A distribution in a few words."""
    rows = found.tally("rows")
    tail = f", {percent(found.missing / rows)} missing" if rows and found.missing else ""
    if found.kind == "numeric":
        middle, low, high = (quality.quantile(found, q).value for q in (0.5, 0.05, 0.95))
        if middle is None or low is None or high is None:
            return "no values" + tail
        return f"median {middle:.4g} ({low:.4g} to {high:.4g}){tail}"
    if found.kind == "category":
        heavy = sorted(zip(found.labels, found.counts.tolist(), strict=True), key=lambda e: (-e[1], e[0]))[:3]
        return ", ".join(f"{label} {percent(n / rows)}" for label, n in heavy if rows) + tail or "no values"
    return f"{rows:,} records{tail}"


def _slices(reader: Reader, streams: Sequence[str], chosen: Sides) -> list[Difference]:
    """The shares of each dimension's slices."""
    here = slices_of(reader, streams, chosen.inside)
    halves = [slices_of(reader, streams, half) for half in chosen.baseline]
    versions = {(task.prediction.stream, (task.version,)) for task in reader.recall(catalogue.tasks).values()}
    found = []
    for place, slices in here.items():
        stream, names = place
        inside, several = _by_value(slices), [_by_value(half[place]) for half in halves if place in half]
        if not several:
            continue
        baseline: dict[str, float] = collections.defaultdict(float)
        for part in several:
            for name, n in part.items():
                baseline[name] += n
        effect, groups = of_names(inside, baseline)
        usual = of_names(*several)[0].value if len(several) == 2 else 0.0
        found.append(
            Difference(
                "version" if place in versions else "slice", stream, " × ".join(names), effect,
                groups, int(sum(inside.values())), int(sum(baseline.values())),
                _most_different(inside, baseline) if len(names) == 1 else None, usual,
            )
        )  # fmt: skip
    return found


def _by_value(slices: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = collections.defaultdict(float)
    for key, n in slices.items():
        found[" × ".join("(none)" if v is None else str(v) for v in json.loads(key).values())] += n
    return dict(found)


def _most_different(inside: Mapping[str, float], baseline: Mapping[str, float]) -> str | None:
    n, m = sum(inside.values()) or 1.0, sum(baseline.values()) or 1.0
    gaps = {name: abs(inside.get(name, 0.0) / n - baseline.get(name, 0.0) / m) for name in {*inside, *baseline}}
    return max(sorted(gaps), key=gaps.__getitem__, default=None)


def _heavy(shares: Mapping[str, float]) -> str:
    total = sum(shares.values()) or 1.0
    heavy = sorted((name for name in shares if shares[name]), key=lambda name: (-shares[name], name))[:3]
    return ", ".join(f"{name} {percent(shares[name] / total)}" for name in heavy) or "none"


def _cut(n: int) -> str:
    return f"; of the newest {n:,} runs" if n >= _RUNS else ""


def _runs(reader: Reader, chosen: Sides) -> list[Difference]:
    """What the runs of each component had: parameters, code, versions of packages, and whether they succeeded."""
    found = []
    windows = [(part.start, part.end) for part in (chosen.inside, *chosen.baseline)]
    with reader.database.read() as connection:
        during = runs.during(connection, reader.project, windows, _RUNS)
    for component, several in during.items():
        here = [_facts(run) for run in several if _is_in(run, chosen.inside)]
        there = [_facts(run) for run in several if any(_is_in(run, half) for half in chosen.baseline)]
        for name in dict.fromkeys(name for facts in (*here, *there) for name in facts):
            inside, baseline = _values(here, name), _values(there, name)
            number, most = len({*inside, *baseline}), max(_OWN * len(inside + baseline), 2)
            if not inside or not baseline or not 1 < number <= min(_VALUES, most):
                continue
            value, usual = apart(inside, baseline)
            counted = collections.Counter(inside), collections.Counter(baseline)
            found.append(
                Difference(
                    "parameter", component, name, Effect(value, value, value), names(*counted), len(inside),
                    len(baseline), _most_different(*counted), usual,
                )
            )  # fmt: skip
    return found


def _values(several: Sequence[Mapping[str, str]], name: str) -> list[str]:
    """A fact's values in some runs; how one that lasts will end is no fact yet."""
    return [facts.get(name, "(none)") for facts in several if name != "status" or name in facts]


def _is_in(run: Run, stretch: Stretch) -> bool:
    at = run.started if run.at is None else run.at
    if not stretch.start <= at < stretch.end:
        return False
    return stretch.without is None or not stretch.without.start <= at < stretch.without.end


def _facts(run: Run) -> dict[str, str]:
    code = run.code.get("source_hash") or run.code.get("commit")
    packages = run.code.get("packages")
    found = {f"params: {name}": str(value) for name, value in run.params.items()}
    found |= {"status": run.status.value} if run.status is not RunStatus.RUNNING else {}
    found |= {"code": str(code)[:12]} if code else {}
    return found | ({f"version: {n}": str(v) for n, v in packages.items()} if isinstance(packages, dict) else {})
