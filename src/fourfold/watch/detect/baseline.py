"""What is expected of a bucket: a robust level, and a season and a trend where the history shows them."""

from __future__ import annotations

import dataclasses

import numpy as np

from fourfold.counts.binning import Floats, Ints
from fourfold.watch.detect.robust import Grid, count, median, spread

DAY, HOUR = 86_400, 3_600
RECENT = 42 * DAY  # the level is that of the last weeks; the season is that of all the history
LAG = 14 * DAY  # but for the newest, into which a slow change would leak
FEW = 14  # buckets, less than which the level is taken from all the history
MEDIAN_LOSS = np.pi / 2  # the variance of a median, in variances of a mean
QUARTER = 10  # buckets in each quarter of a history that can show a trend
STEADILY = 4.0  # and how many times the least of them the largest may be
TREND = 1.5  # standard errors that each change, from quarter to quarter, must exceed
LIKE = 3  # buckets of a weekday, or an hour, that can show what is usual of it: of two, one may be an outlier
DOUBT = 2.0  # a season counts by how much it exceeds this many times what chance would show


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What is expected of one bucket by series; ``error`` is the variance of that expectation per unit variance."""

    expected: Floats
    error: Floats


def weekday(times: Ints) -> Ints:
    """0 is Monday."""
    return np.asarray((times // DAY + 3) % 7)


def day_of_month(times: Ints) -> Ints:
    """1 for the first, -1 for the last day of a month, 0 for the others."""
    days = (times // DAY).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    last = (months + 1).astype("datetime64[D]") - 1
    return np.where(days == last, -1, np.where(days == months.astype("datetime64[D]"), 1, 0)).astype(np.int64)


def fit(times: Ints, values: Grid, moved: Grid, bucket: int, level: int) -> Baseline:
    """Expect ``bucket`` of each row of ``values``, whose columns began at ``times``; NaN is not known or masked.

    ``moved`` is what has to be added for the values to lie about the newest level; a trend makes up for it.
    """
    seasons = [weekday] if level >= DAY else [lambda t: t // HOUR % 24, lambda t: weekday(t) * 24 + t // HOUR % 24]
    if level >= DAY:
        slope = _trend(times[times < bucket - LAG], values[:, times < bucket - LAG])
        trend = -(slope[:, None] * (times - bucket)).astype(values.dtype)
        values = values + np.where(slope[:, None] != 0, trend, moved)
    else:
        values = values + moved
    start = median(values)[:, None]
    flat: Grid = values - start
    added, here = np.zeros(len(values)), np.array([bucket])
    for season in seasons:
        effect = _season(season(times), flat, int(season(here)[0]))
        flat, added = effect.rest, added + effect.here
    if level >= DAY:
        added = added + _month_end(times, flat, bucket)
    newest = flat[:, (times > bucket - RECENT - LAG) & (times < bucket - LAG)]
    n = count(newest)
    enough = n >= FEW
    centre: Grid = median(newest)
    if not enough.all():
        centre, n = np.where(enough, centre, median(flat)), np.where(enough, n, count(flat))
    return Baseline(np.asarray(start[:, 0] + centre + added), MEDIAN_LOSS / np.maximum(n, 1))


def _trend(times: Ints, values: Grid) -> Floats:
    """By how much a row changes per second, if it does so from each quarter of the history to the next; else 0.

    A step is seen in two of the three changes at most, and is much larger there: it is no trend.
    """
    width = len(times) // 4
    if width < QUARTER:
        return np.zeros(len(values))
    parts = [slice(place * width, (place + 1) * width) for place in range(4)]
    middles = np.array([median(values[:, part]) for part in parts], dtype=np.float64)
    n = np.min([count(values[:, part]) for part in parts], axis=0)
    within = spread(values[:, parts[1]] - middles[1][:, None].astype(values.dtype))
    error = within * np.sqrt(2 * MEDIAN_LOSS / np.maximum(n, 1))
    steps = np.diff(middles, axis=0)
    least, most = np.abs(steps).min(axis=0), np.abs(steps).max(axis=0)
    shown = (n >= QUARTER // 2) & (np.abs(np.sign(steps).sum(axis=0)) == len(steps)) & (least > TREND * error)
    shown &= most < STEADILY * least
    mean = np.median(np.abs(steps), axis=0)
    return np.where(
        shown, np.sign(steps[0]) * mean / (float(times[parts[1]].mean()) - float(times[parts[0]].mean())), 0
    )


@dataclasses.dataclass(frozen=True)
class _Effect:
    rest: Grid  # the values without it
    here: Floats  # what it adds in the bucket asked for


def _season(bins: Ints, flat: Grid, here: int) -> _Effect:
    """The median of each bin, shrunk to none by as much as chance would show.

    Source: the positive-part estimator of James and Stein (1961); the variance within is that of the residuals.
    """
    kinds = np.unique(bins)
    effects, sizes = np.zeros((len(flat), len(kinds))), np.zeros((len(flat), len(kinds)))
    rest = flat.copy()
    for place, kind in enumerate(kinds):
        columns = np.flatnonzero(bins == kind)
        of_bin = flat[:, columns]
        sizes[:, place] = count(of_bin)
        effects[:, place] = np.where(sizes[:, place] >= LIKE, np.nan_to_num(median(of_bin)), 0)
        rest[:, columns] -= effects[:, [place]].astype(flat.dtype)
    total = sizes.sum(axis=1)
    free = np.maximum(total - (sizes >= LIKE).sum(axis=1), 1)
    within = spread(rest).astype(np.float64) ** 2 * total / free
    between = (sizes * effects**2).sum(axis=1) / np.maximum((sizes >= LIKE).sum(axis=1) - 1, 1)
    chance = DOUBT * MEDIAN_LOSS * within
    keep = np.where(between > chance, 1 - chance / np.where(between > 0, between, 1), 0)
    shrunk = effects * keep[:, None]
    position = np.searchsorted(kinds, bins)
    known = here in kinds
    return _Effect(
        flat - shrunk[:, position].astype(flat.dtype),
        shrunk[:, int(np.searchsorted(kinds, here))] if known else np.zeros(len(flat)),
    )


def _month_end(times: Ints, flat: Grid, bucket: int) -> Floats:
    """What the first or the last day of a month adds, if the bucket is one and its like have been seen twice."""
    kind = int(day_of_month(np.array([bucket]))[0])
    columns = np.flatnonzero(day_of_month(times) == kind) if kind else np.zeros(0, dtype=np.int64)
    if len(columns) < 2:
        return np.zeros(len(flat))
    found = flat[:, columns]
    n, effect, within = count(found), np.nan_to_num(median(found)), spread(flat).astype(np.float64) ** 2
    between, chance = n * effect**2, 2 * DOUBT * MEDIAN_LOSS * within
    return np.where((n >= 2) & (between > chance), effect * (1 - chance / np.where(between > 0, between, 1)), 0)
