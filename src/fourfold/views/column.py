"""A column: now and then side by side, and its history, which says whether it broke or has always been broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fourfold.charts import Band, Bands, Chart, Heat, Line, Pair
from fourfold.counts import Counts
from fourfold.errors import FourfoldError, InputError
from fourfold.metrics import known_metrics, parse
from fourfold.model import DAY, EVERYTHING, HOUR, Incident, Value, Window, seconds
from fourfold.query.counts import CurrentCounts, OwnerCounts, Place, by_window, pooled
from fourfold.query.filtered import FilteredCounts
from fourfold.query.reader import Reader
from fourfold.query.target import Target, column_of
from fourfold.query.together import Stretch, kept_hours
from fourfold.reports import shapes
from fourfold.state import series
from fourfold.views import curves, forms
from fourfold.views.asking import Asked, Shown, path
from fourfold.views.page import Page, Plain
from fourfold.watch import expected as watched
from fourfold.watch.incidents import incidents

_BACK = "-90d"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_METRICS = (
    "missing_rate", "null_rate", "nan_rate", "negative_rate", "zero_rate", "infinite_rate", "mean", "quantile(0.5)",
    "min", "max", "std", "distinct",
)  # fmt: skip
_DISTANCES = ("hellinger", "population_stability_index", "jensen_shannon", "kolmogorov_smirnov", "wasserstein")
_LISTED = 50  # categories
_HEAT = 15


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The column, and what is compared with what."""

    reader: Reader
    target: Target
    kinds: tuple[str, ...]  # of count, the first is drawn
    source: OwnerCounts
    shown: Shown
    now: Window
    then: Window

    def counts(self, window: Window, kind: str) -> Counts | None:
        """Its counts of a kind in a window."""
        level = DAY if window.start % DAY == 0 and window.end % DAY == 0 else HOUR
        found, _ = by_window(self.source, self.target.column, (kind,), (), [window], level)
        return pooled(entry for _, entry in found)

    def parts(self, kind: str) -> dict[int, Counts]:
        """Its counts of a kind in each part of the window, by their starts."""
        step = self.shown.step
        starts = range(self.shown.window.start, self.shown.window.end, step)
        windows = [Window(at, min(at + step, self.shown.window.end)) for at in starts]
        level = HOUR if step % DAY else DAY
        found, _ = by_window(self.source, self.target.column, (kind,), (), windows, level)
        by_part: dict[int, list[Counts]] = {}
        place: Place
        for place, entry in found:
            by_part.setdefault(windows[place[0]].start, []).append(entry)
        return {at: total for at, several in by_part.items() if (total := pooled(several)) is not None}


def page(reader: Reader, asked: Asked, now: float) -> Page:
    """What a column's page shows."""
    stream, column = asked.more.get("stream", ""), asked.more.get("column", "")
    target = column_of(reader, stream, column)
    source: OwnerCounts = CurrentCounts(reader, target.owner)
    if asked.where:
        source = FilteredCounts(source, str(target.owner), asked.where)
    shown = asked.window(reader, target.owner, now, default=_BACK)
    kinds = tuple(dict.fromkeys(entry.kind for entry in source.series() if entry.column == column))
    recent, before = _windows(asked, shown, kept_hours(reader, [stream]))
    about = _Asked(reader, target, kinds, source, shown, recent, before)
    wrong = [each for each in incidents(reader, active=False) if _is_about(each, stream, column)]
    charts: dict[str, Chart] = {}
    identifier = source.is_identifier(column)
    history = _history(about, asked, wrong, charts)
    categories = _categories(about, charts) if "category" in kinds and not identifier else _NO_CATEGORIES
    data = {
        "stream": stream, "column": column, "kind": "identifier" if identifier else "+".join(kinds), "kinds": kinds,
        "window": forms.window(shown), "now": _stretch(recent), "against": {"text": _words(asked), **_stretch(before)},
        **forms.where_of(asked.where), "values": _values(about, asked),
        **_distance(about, charts, identifier=identifier),
        "history": history, **categories, "always": _always(about, history, wrong),
        "incidents": [forms.incident(each) for each in wrong[:20]], "href_stream": path("streams", stream),
        "available": [m for m in known_metrics("column") if m not in _DISTANCES],
    }  # fmt: skip
    if asked.metric:
        charts["metric"] = curves.line(
            f"{asked.metric} of {column}", shown.metric(reader, target, asked.metric, where=asked.where),
            asked.metric, spans=curves.spans(wrong),
        )  # fmt: skip
    return Page(data, charts, history)


_NO_CATEGORIES: Plain = {"new_categories": [], "gone_categories": [], "frequent": []}


def _windows(asked: Asked, shown: Shown, kept: int) -> tuple[Window, Window]:
    """Now: the window, if it was asked for, else the last of its parts (a day at least); then: before that.

    What begins before the first ``kept`` hour is in days.
    """
    start, end = shown.window.start, shown.window.end
    if not asked.start and not asked.end:
        start = max(start, end - max(7 * DAY, shown.step))
    recent = Window(start, end)
    if "/" in asked.against:
        first, _, last = asked.against.partition("/")
        then = Stretch.of(Window(seconds(first, "against"), seconds(last, "against")), kept)
        if then.start >= then.end:
            raise InputError(f"against={asked.against!r}: the start is not before the end")
        return recent, then.window
    if asked.against not in ("", "before"):
        raise InputError(f"against={asked.against!r}: give before, or START/END")
    before = Window(min(shown.data_start // DAY * DAY, start - DAY), start)
    return recent, (Stretch.of(before, kept).beside(recent) or Stretch.of(before)).window


def _words(asked: Asked) -> str:
    return asked.against or "before"


def _stretch(window: Window) -> Plain:
    return {"start": forms.time(window.start), "end": forms.time(window.end)}


def _is_about(incident: Incident, stream: str, column: str) -> bool:
    return any(f.where.stream == stream and f.where.column == column for f in incident.findings)


def _values(about: _Asked, asked: Asked) -> list[Plain]:
    """The main metrics, now and then."""
    found = []
    sides = {kind: (about.counts(about.now, kind), about.counts(about.then, kind)) for kind in about.kinds}
    for name in dict.fromkeys((*([asked.metric] if asked.metric else []), *_METRICS)):
        question = parse(name, "column")
        kind = next((kind for kind in question.metric.kinds if kind in sides), None)
        if kind is None or question.metric.distance:
            continue
        empty = Value.no_data("no records in this window")
        values = [question.of(side) if side is not None else empty for side in sides[kind]]
        now, then = map(forms.value, values)
        found.append({"metric": name, "title": question.title, "unit": curves.unit_of(name), "now": now, "then": then})
    return found


def _distance(about: _Asked, charts: dict[str, Chart], *, identifier: bool) -> Plain:
    kind = next((kind for kind in ("category", "numeric", "opaque") if kind in about.kinds), None)
    if "numeric" in about.kinds:
        kind = "numeric"
    if kind is None or identifier:
        return {"distance": {}, "effect": None}
    now, then = about.counts(about.now, kind), about.counts(about.then, kind)
    if now is None or then is None:
        return {"distance": {}, "effect": None}
    distances = {}
    for name in _DISTANCES if kind != "opaque" else ():
        metric = parse(name, "column").metric
        if kind in metric.kinds:
            question = parse(name, "column")
            distances[name] = {"title": question.title, **forms.value(question.of(now, then))}
    effect = shapes.between(now, then)
    if effect is None:
        return {"distance": distances, "effect": None}
    groups = shapes.drawn(now, then)
    charts["distribution"] = Pair(about.target.column, groups.labels, ("now", "then"), groups.shares)
    return {"distance": distances, "effect": {"value": effect.value, "low": effect.low, "high": effect.high}}


def _history(about: _Asked, asked: Asked, wrong: Sequence[Incident], charts: dict[str, Chart]) -> list[Plain]:
    column, reader, shown = about.target.column, about.reader, about.shown
    kind = "numeric" if "numeric" in about.kinds else about.kinds[0] if about.kinds else ""
    if not kind:
        return []
    parts = about.parts(kind)
    rate, middle = parse("missing_rate", "column"), parse("mean", "column")
    quantiles = [parse(f"quantile({q})", "column") for q in _QUANTILES]
    times = sorted(parts)
    missing = [rate.of(parts[at]) for at in times]
    spans = curves.spans(wrong)
    found = []
    for at, share in zip(times, missing, strict=True):
        counted = parts[at]
        row: Plain = {
            "start": forms.time(at), "end": forms.time(at + shown.step), "rows": counted.tally("rows"),
            "missing": forms.value(share), "quantiles": None, "mean": None,
        }  # fmt: skip
        if kind == "numeric":
            row["quantiles"] = {f"{q:g}": of.of(counted).value for q, of in zip(_QUANTILES, quantiles, strict=True)}
            row["mean"] = middle.of(counted).value
        found.append(row)
    floats = [float(at) for at in times]
    if kind == "numeric":
        lines = [(q, [row["quantiles"][f"{q:g}"] for row in found]) for q in _QUANTILES]
        charts["quantiles"] = Bands(f"{column} over time", floats, lines, spans=spans)
    expected = _expected(reader, about, "missing_rate") if not asked.where and shown.step == DAY else {}
    band = [expected.get(at) for at in times]
    charts["missing"] = Line(
        f"share of {column} that is missing", floats, [curves.curve("missing", missing)], "share",
        Band([b and b[0] for b in band], [b and b[1] for b in band]) if any(band) else None, spans=spans,
    )  # fmt: skip
    return found


def _expected(reader: Reader, about: _Asked, measure: str) -> dict[int, tuple[float, float]]:
    found = watched.of_column(reader, about.target.owner.name, about.target.column, EVERYTHING, measure)
    if found is None:
        return {}
    rows = zip(found.times, found.low, found.high, strict=True)
    return {t: (a, b) for t, a, b in rows if a is not None and b is not None}


def _categories(about: _Asked, charts: dict[str, Chart]) -> Plain:
    """Which values are new, which are gone, and which are frequent, now and then."""
    parts = about.parts("category")
    then, now = about.counts(about.then, "category"), about.counts(about.now, "category")
    sides = [_shares(side) for side in (now, then)]
    firsts: dict[str, int] = {}
    lasts: dict[str, int] = {}
    for at in sorted(parts):
        for label in parts[at].labels:
            firsts.setdefault(label, at)
            lasts[label] = at
    numbers = {} if now is None else dict(zip(now.labels, now.counts.tolist(), strict=True))
    old = {} if then is None else dict(zip(then.labels, then.counts.tolist(), strict=True))
    new = sorted((label for label in sides[0] if label not in sides[1]), key=lambda label: -sides[0][label])
    gone = sorted((label for label in sides[1] if label not in sides[0]), key=lambda label: -sides[1][label])
    heavy = sorted({*sides[0], *sides[1]}, key=lambda label: -(sides[0].get(label, 0.0) + sides[1].get(label, 0.0)))
    if parts and heavy:
        times = sorted(parts)
        by_part = [_shares(parts[at]) for at in times]
        charts["categories"] = Heat(
            f"{about.target.column} by value", heavy[:_HEAT], [float(at) for at in times],
            [[part.get(label, 0.0) for part in by_part] for label in heavy[:_HEAT]], "share",
        )  # fmt: skip
    return {
        "new_categories": [
            {"value": label, "first": forms.time(firsts.get(label)), "n": numbers[label], "share": sides[0][label]}
            for label in new[:_LISTED]
        ] if then is not None else [],
        "gone_categories": [
            {"value": label, "last": forms.time(lasts.get(label)), "n": old[label], "share": sides[1][label]}
            for label in gone[:_LISTED]
        ] if now is not None else [],
        "frequent": [
            {"value": label, "now": sides[0].get(label, 0.0), "then": sides[1].get(label, 0.0)}
            for label in heavy[:_LISTED]
        ],
    }  # fmt: skip


def _shares(counted: Counts | None) -> dict[str, float]:
    rows = 0 if counted is None else counted.tally("rows") - counted.tally("null")
    if counted is None or rows <= 0:
        return {}
    return {label: n / rows for label, n in zip(counted.labels, counted.counts.tolist(), strict=True) if n > 0}


def _always(about: _Asked, history: Sequence[Plain], wrong: Sequence[Incident]) -> Plain:
    """Did it just break, or has it always been broken?"""
    gone, since = _gone_or_new(about)
    if gone:
        return {"broken_since": forms.time(gone), "words": f"it is gone: no record has it since {forms.time(gone)}"}
    active = [each for each in wrong if each.state.is_active]
    if active:
        first = min(active, key=lambda each: each.began)
        return {"broken_since": forms.time(first.began), "words": f"it changed: {first.title}"}
    shares = [row["missing"]["value"] or 0.0 for row in history]
    if shares and min(shares) > 0.5:
        return {"broken_since": forms.time(about.shown.window.start), "words": "mostly missing in all of this window"}
    if wrong:
        last = max(wrong, key=lambda each: each.began)
        return {"broken_since": None, "words": f"it is as usual; the last incident was: {last.title}"}
    new = f"; it is new: the first records that have it are of {forms.time(since)}" if since else ""
    return {"broken_since": None, "words": f"nothing was found to be wrong with it{new}"}


def _gone_or_new(about: _Asked) -> tuple[int | None, int | None]:
    """From when on no record of the stream has the column, and from which day on some have, if the first had not."""
    gone, since = None, None
    owner, column = about.target.owner, about.target.column
    for level in (DAY, HOUR):  # hours tell it better, as long as they are kept
        records, own = (about.reader.recall(series.span_of, owner, name, level) for name in ("", column))
        if records is not None and own is not None:
            gone = own[1] + level if own[1] < records[1] else None
            if level == DAY and records[0] < own[0]:
                since = own[0]
    return gone, since


def href(reader: Reader, stream: str, column: str) -> str:
    """The page of a column, if it is one."""
    try:
        column_of(reader, stream, column)
    except FourfoldError:
        return path("streams", stream)
    return path("columns", stream, column)
