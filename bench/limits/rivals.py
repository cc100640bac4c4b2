"""Ours and its rivals: each takes a store and says on which days each series is in alarm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.limits.series import LEAST, SERIES, START, Store
from fourfold.counts.binning import Floats
from fourfold.watch.detect import Detector, Status, Verdicts
from fourfold.watch.detect.robust import normal_score

Alarms = npt.NDArray[np.bool_]
DAY = 86_400
LEARN = 60  # days that every method may learn from, and must not alarm in
PROMISE = 30.0  # days


def detector(store: Store) -> Alarms:
    """Fourfold."""
    status = np.stack([v.status for v in _judged(store)], axis=1)
    return np.asarray((status == Status.CHANGED) | (status == Status.SETTLED))


_LAST: dict[str, tuple[Store, list[Verdicts]]] = {}  # several methods ask for those of one store


def _judged(store: Store) -> list[Verdicts]:
    if "last" not in _LAST or _LAST["last"][0] is not store:
        _LAST["last"] = store, _judge(store)
    return _LAST["last"][1]


def _judge(store: Store) -> list[Verdicts]:
    n, days = store.values.shape
    found, keys, family = Detector(DAY, days=PROMISE), [str(i) for i in range(n)], ["all"] * n
    least, side = np.full(n, LEAST), np.zeros(n, dtype=np.int64)
    noise = np.broadcast_to(store.noise, store.values.shape)
    return [
        found.judge(START + day * DAY, keys, store.values[:, day], noise[:, day], least, side, family)
        for day in range(days)
    ]


@dataclasses.dataclass(frozen=True)
class _Predicted:
    """What fourfold's own baseline expected, by day: the surprise is in standard deviations, beyond the least."""

    up: Floats
    down: Floats
    residual: Floats


def _predicted(store: Store) -> _Predicted:
    verdicts = _judged(store)
    expected = np.stack([v.expected for v in verdicts], axis=1)
    deviation = np.stack([v.high - v.low for v in verdicts], axis=1) / 2 / 1.96
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [np.nan_to_num((sign * (store.values - expected) - LEAST) / deviation) for sign in (1, -1)]
        residual = np.nan_to_num((store.values - expected) / deviation)
    for part in (*parts, residual):
        part[:, :LEARN] = 0
    return _Predicted(parts[0], parts[1], residual)


GRID = np.array([0.5, 1, 2, 4, 8])  # effects, in deviations beyond the least


def _e_detector(predicted: _Predicted, inflated: Floats) -> Alarms:
    """M = (M + 1) L for each effect and side; their mean against the number of series times the days promised.

    Source: Shin, Ramdas, Rinaldo, E-detectors: a nonparametric framework for sequential change detection (2022). L is
    the ratio of t likelihoods as normal scores (20 degrees of freedom), to the power of 1 / ``inflated``.
    """
    n, days = predicted.up.shape
    limit = np.log(SERIES * PROMISE)
    logs = np.full((2, n, len(GRID)), -np.inf)
    out = np.zeros((n, days), dtype=bool)
    for day in range(LEARN, days):
        for side, z in enumerate((predicted.up[:, day], predicted.down[:, day])):
            score = normal_score(z, np.full(n, 20.0))[:, None]
            ratio = (GRID * score - GRID**2 / 2) / inflated[:, [day]]
            logs[side] = np.minimum(np.logaddexp(logs[side], 0) + ratio, limit + 5)  # or it would not come back
        mixed = np.logaddexp.reduce(np.concatenate(list(logs), axis=1), axis=1) - np.log(2 * len(GRID))
        out[:, day] = mixed >= limit
    return out


def e_detector(store: Store) -> Alarms:
    """An e-detector over fourfold's baseline."""
    predicted = _predicted(store)
    return _e_detector(predicted, np.ones(predicted.up.shape))


def e_detector_tempered(store: Store) -> Alarms:
    """The same, its exponents divided by the long-run variance that the residuals' lag-1 autocorrelation implies."""
    predicted = _predicted(store)
    r = np.clip(predicted.residual, -4, 4)
    product, square = np.cumsum(r[:, 1:] * r[:, :-1], axis=1), np.cumsum(r**2, axis=1)[:, 1:]
    rho = np.zeros(r.shape)
    rho[:, 2:] = (product / np.maximum(square, 1e-9))[:, :-1]
    rho = np.clip(rho, 0, 0.95)
    return _e_detector(predicted, (1 + rho) / (1 - rho))


def fixed(store: Store) -> Alarms:
    """The rate differs by 20 % from that of the first 60 days."""
    p = np.sin(store.values) ** 2
    before = p[:, :LEARN].mean(axis=1, keepdims=True)
    return np.asarray(np.abs(p - before) > 0.2 * before)


def psi(store: Store) -> Alarms:
    """The population stability index of the two categories exceeds 0.2, against the first 60 days."""
    p = np.clip(np.sin(store.values) ** 2, 1e-4, 1 - 1e-4)
    q = p[:, :LEARN].mean(axis=1, keepdims=True)
    return np.asarray((p - q) * np.log(p / q) + (q - p) * np.log((1 - p) / (1 - q)) > 0.2)


def _windows(values: Floats, width: int) -> tuple[Floats, Floats]:
    """The mean and deviation of the ``width`` days before each day."""
    sums = [np.concatenate([np.zeros((len(values), 1)), np.cumsum(x, axis=1)], axis=1) for x in (values, values**2)]
    mean, square = (np.full(values.shape, np.nan) for _ in range(2))
    for target, total in zip((mean, square), sums, strict=True):
        target[:, width:] = (total[:, width:-1] - total[:, : -width - 1]) / width
    return mean, np.sqrt(np.maximum(square - mean**2, 1e-12))


def z_scores(store: Store) -> Alarms:
    """The residual from the mean of 28 days and from the weekday's of 4 weeks exceeds 3 deviations of 28 days."""
    values = store.values
    weekday = np.mean([np.roll(values, 7 * k, axis=1) for k in range(1, 5)], axis=0)
    residual = values - weekday
    _, deviation = _windows(residual, 28)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(residual) > 3 * deviation)


def _standard(store: Store) -> Floats:
    learn = store.values[:, :LEARN]
    deviation = np.maximum(learn.std(axis=1, ddof=1, keepdims=True), 1e-9)
    return np.asarray((store.values - learn.mean(axis=1, keepdims=True)) / deviation)


def shewhart(store: Store) -> Alarms:
    """3 sigma limits of the first 60 days."""
    return np.abs(_standard(store)) > 3


def shewhart_promised(store: Store) -> Alarms:
    """Limits that a normal series would exceed once in the promised time, among all series."""
    limit = _quantile(1 / (2 * SERIES * PROMISE))
    return np.abs(_standard(store)) > limit


def _quantile(tail: float) -> float:
    from scipy.stats import norm

    return float(norm.isf(tail))


def _cusum(z: Floats, limit: float) -> Alarms:
    up, down, out = np.zeros(len(z)), np.zeros(len(z)), np.zeros(z.shape, dtype=bool)
    for day in range(z.shape[1]):
        up, down = np.maximum(0, up + z[:, day] - 0.5), np.maximum(0, down - z[:, day] - 0.5)
        out[:, day] = (up > limit) | (down > limit)
        up, down = np.minimum(up, 2 * limit), np.minimum(down, 2 * limit)  # or it would not come back
    return out


def cusum(store: Store) -> Alarms:
    """Reference value 0.5, limit 5, in deviations of the first 60 days."""
    z = _standard(store)
    z[:, :LEARN] = 0
    return _cusum(z, 5.0)


def cusum_promised(store: Store) -> Alarms:
    """The same with the limit at which normal series would alarm once in the promised time (Siegmund's formula)."""
    z = _standard(store)
    z[:, :LEARN] = 0
    limits = np.linspace(4, 30, 2_000)
    b = limits + 1.166
    length = (np.exp(b) - b - 1) / 0.5 / 2  # both sides, drift -0.5: ARL = (exp(2 k b) - 2 k b - 1) / (2 k^2), k = 0.5
    return _cusum(z, float(limits[np.searchsorted(length, SERIES * PROMISE)]))


def conformal(store: Store) -> Alarms:
    """The rank of |residual| among the last 180 days, p at most 0.05 over the number of series (Bonferroni)."""
    return _conformal(store) <= 0.05 / SERIES


def conformal_plain(store: Store) -> Alarms:
    """The same at p <= 0.01, not corrected."""
    return _conformal(store) <= 0.01


def _conformal(store: Store) -> Floats:
    values = store.values
    residual = np.abs(values - np.mean([np.roll(values, 7 * k, axis=1) for k in range(1, 5)], axis=0))
    p = np.ones(values.shape)
    for day in range(LEARN + 28, values.shape[1]):
        past = residual[:, max(28, day - 180) : day]
        p[:, day] = (1 + (past >= residual[:, [day]]).sum(axis=1)) / (1 + past.shape[1])
    return p


METHODS: dict[str, Callable[[Store], Alarms]] = {
    "fourfold": detector,
    "e-detector": e_detector,
    "e-detector, tempered": e_detector_tempered,
    "relative 20 %": fixed,
    "PSI > 0.2": psi,
    "z-scores, 3": z_scores,
    "Shewhart, 3": shewhart,
    "Shewhart, promised": shewhart_promised,
    "CUSUM, 5": cusum,
    "CUSUM, promised": cusum_promised,
    "conformal, Bonferroni": conformal,
    "conformal, p <= 0.01": conformal_plain,
}
