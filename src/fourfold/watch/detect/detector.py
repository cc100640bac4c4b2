"""A detector: it learns what is usual of each series, and says which series have changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fourfold.counts.binning import Floats, Ints
from fourfold.watch.detect import memory
from fourfold.watch.detect.baseline import DAY, Baseline, day_of_month, fit
from fourfold.watch.detect.robust import log_tail, normal_score
from fourfold.watch.detect.spread import GUARD, Spread, usual
from fourfold.watch.detect.verdicts import Status, Verdicts

Flags = npt.NDArray[np.bool_]
NORMAL_95 = 1.96
ONSET_95 = 3.66  # of the logarithm of the likelihood, by which a start may fall short of the best: -log(1 - sqrt(0.95))
PARTS = np.arange(4) / 4  # of a bucket, after which a change may begin
BLOCK = 2_000  # rows
OVER = 3.0  # a change is over once the odds are e to this that it is
EFFECTS = np.array([0.5, 1, 2, 4, 8])  # beyond the least that matters, in deviations
FEWEST = 3  # buckets from which anything can be expected
MOST = 60.0  # of a logarithm
WAYS = 4  # in which a series can alarm: up and down, suddenly and slowly
STEADY = 0.1  # of the least change that matters: a series whose natural deviation is less has no season
STEP = 2.0  # of which one bucket gives at most this much: two are needed


def _fit(times: Ints, past: Floats, moved: npt.NDArray[np.floating], bucket: int, level: int) -> Baseline:
    """``fit``, some rows at a time, so that what is made of them stays in the processor's cache."""
    parts = [
        fit(times, past[i : i + BLOCK], moved[i : i + BLOCK], bucket, level) for i in range(0, len(past), BLOCK)
    ] or [fit(times, past, moved, bucket, level)]
    if len(parts) == 1:
        return parts[0]
    return Baseline(np.concatenate([part.expected for part in parts]), np.concatenate([part.error for part in parts]))


class Detector:
    """Judges the buckets of one level, in order, of any number of series.

    ``level`` is the length of a bucket in seconds; ``days`` is the promise: among all series that are shown, at most
    one false alarm in so many days. A change that lasts ``settle`` buckets becomes what is normal. ``needed`` buckets
    of a series must have been seen before it is judged.
    """

    def __init__(self, level: int, *, days: float = 30.0, settle: int = 14, needed: int | None = None) -> None:
        self.level, self.days, self.settle = level, days, settle
        self.needed = needed if needed is not None else (14 if level >= DAY else 72)
        self.history = memory.History(15 * 7 if level >= DAY else 4 * 7 * 24)

    def judge(
        self,
        bucket: int,
        keys: Sequence[str],
        values: npt.NDArray[np.floating],
        noise: npt.NDArray[np.floating],
        least: npt.NDArray[np.floating],
        side: npt.NDArray[np.integer],
        family: Sequence[str] | None = None,
    ) -> Verdicts:
        """Judge the bucket that starts at ``bucket``, by what was known before, and learn it.

        Arrays are in the order of ``keys``: ``values`` on a scale on which their sampling error is about normal (NaN:
        nothing known in this bucket), ``noise`` their sampling variances, ``least`` the smallest change that matters
        on that scale, ``side`` the direction that counts (1 up, -1 down, 0 both). Series of one ``family`` lend each
        other their variation while their own history is short. Buckets may be missing; their starts must increase.
        """
        h = self.history
        h.advance(bucket)
        rows = h.rows(keys, family)
        y, v = np.asarray(values, dtype=np.float64), np.asarray(noise, dtype=np.float64)
        known = np.isfinite(y) & np.isfinite(v)
        edge = np.maximum(np.asarray(least, dtype=np.float64), 0)
        past = np.where(h.out[rows, :-1], np.nan, h.y[rows, :-1])
        seen = np.asarray(np.count_nonzero(~np.isnan(past), axis=1))
        learned = seen >= self.needed
        base = _fit(h.times[:-1], past, h.moved[rows, :-1], bucket, self.level)
        error = np.where(known & (seen >= FEWEST), y - base.expected, np.nan)
        h.learn(rows, np.where(known, y, np.nan), v, error)
        found = usual(h, rows, edge, base.error, 2 * self.needed)
        deviation = found.deviation(v)
        up, down = self._evidence(rows, (error, deviation), found, edge, learned)
        up, down = np.where(np.asarray(side) >= 0, up, -np.inf), np.where(np.asarray(side) <= 0, down, -np.inf)
        threshold = np.log(max(len(rows), 1) * self.days * DAY / self.level)
        evidence = np.where(known & learned, np.maximum(up, down) - threshold, -np.inf)
        fires = (evidence >= 0) & ~h.open[rows]
        rare = fires & self._rare(h.times[:-1], past, bucket) & (found.natural > (STEADY * edge) ** 2)
        opens, goes_on = fires & ~rare, h.open[rows] & known
        self._open(rows[opens], np.where(up >= down, 1, -1)[opens], deviation[opens], found.longer[opens])
        self._follow(rows[goes_on], error[goes_on], deviation[goes_on], edge[goes_on])
        is_open = h.open[rows]
        h.peak[rows] = np.where(is_open, np.fmax(h.peak[rows], evidence), 0)
        h.out[rows, -1] |= is_open
        settled = is_open & (h.length[rows] >= self.settle)
        half = NORMAL_95 * found.deviation(np.nan_to_num(v))
        verdicts = Verdicts(
            status=np.select(
                [settled, is_open, rare, learned],
                [Status.SETTLED, Status.CHANGED, Status.RARE, Status.NORMAL],
                Status.LEARNING,
            ),
            expected=base.expected,
            low=base.expected - half,
            high=base.expected + half,
            evidence=np.where(is_open, h.peak[rows], evidence),
            began=np.where(is_open, h.began[rows], 0),
            began_low=np.where(is_open, h.low[rows], 0),
            began_high=np.where(is_open, h.high[rows], 0),
            seen=np.minimum(seen, self.needed),
            needed=np.full(len(rows), self.needed),
        )
        self._settle(rows[settled])
        return verdicts

    def accept(self, key: str) -> None:
        """What the series has changed to is normal from now on. A series that has not changed stays as it is."""
        row = self.history.index.get(key)
        if row is not None and self.history.open[row]:
            self._settle(np.array([row]))

    def to_bytes(self) -> bytes:
        """All that it has learned, for ``from_bytes``."""
        numbers = {"level": self.level, "days": self.days, "settle": self.settle, "needed": self.needed}
        return memory.pack(numbers, self.history)

    @classmethod
    def from_bytes(cls, data: bytes) -> Detector:
        """The inverse of ``to_bytes``. Raises ``ValueError`` for bytes that are damaged or of another version."""
        numbers, history = memory.unpack(data)
        detector = cls(
            int(numbers["level"]),
            days=numbers["days"],
            settle=int(numbers["settle"]),
            needed=int(numbers["needed"]),
        )
        detector.history = history
        return detector

    def _evidence(
        self, rows: Ints, errors: tuple[Floats, Floats], found: Spread, edge: Floats, learned: Flags
    ) -> tuple[Floats, Floats]:
        """How improbable the newest buckets are, up and down: this one alone, or all since some start.

        Source of the latter: Shin, Ramdas, Rinaldo, E-detectors: a nonparametric framework for sequential change
        detection (2022): M = (M + 1) L, L the ratio of the likelihoods of a shift and of the least that matters. The
        exponent of L is divided by how long natural variation lasts, lest that adds up.
        """
        h, (error, deviation) = self.history, errors
        known, longer = np.isfinite(error) & learned, found.longer[:, None]
        best = []
        for way, sign in enumerate((1, -1)):
            with np.errstate(invalid="ignore", divide="ignore"):
                z = np.where(known, (sign * error - edge) / deviation, 0)
            score = normal_score(z / found.unit, found.freedom)
            sudden = np.where(score > 0, -log_tail(score), -np.inf)
            sums = h.sums[rows, way]
            grown = np.logaddexp(sums, 0) + (EFFECTS * score[:, None] - EFFECTS**2 / 2) / longer
            h.sums[rows, way] = np.where(known[:, None], np.minimum(grown, MOST), sums)
            slow = np.logaddexp.reduce(h.sums[rows, way].astype(np.float64), axis=1) - np.log(len(EFFECTS))
            best.append(np.maximum(sudden, slow) - np.log(WAYS))
        return best[0], best[1]

    def _rare(self, times: Ints, past: Floats, bucket: int) -> Flags:
        """Whether the bucket is the first or last day of a month, of which the history has fewer than two."""
        kind = int(day_of_month(np.array([bucket]))[0])
        if self.level < DAY or not kind:
            return np.zeros(len(past), dtype=bool)
        like = past[:, day_of_month(times) == kind]
        return np.asarray(np.count_nonzero(~np.isnan(like), axis=1) < 2)

    def _open(self, rows: Ints, sign: Ints, deviation: Floats, longer: Floats) -> None:
        """Note a change, and where it began: the start from which the likelihood of a shift is largest.

        It may have begun within a bucket, which then shows that part of the shift only. Source of the interval:
        Siegmund, Confidence sets in change-point problems, International Statistical Review 56 (1988), 31-48; as the
        evidence, the likelihood is tempered by how long natural variation lasts.
        """
        if not len(rows):
            return
        h = self.history
        wide = min(h.filled, 2 * GUARD)
        error = np.where(h.out[rows][:, -wide:], np.nan, h.e[rows][:, -wide:]).astype(np.float64)
        valid = np.isfinite(error)
        z = np.where(valid, error, 0) / deviation[:, None] * sign[:, None]
        total = np.cumsum(z[:, ::-1], axis=1)[:, ::-1]
        n = np.cumsum(valid[:, ::-1], axis=1)[:, ::-1]
        sums = total[:, :, None] - PARTS * z[:, :, None]
        sizes = n[:, :, None] - (1 - (1 - PARTS) ** 2) * valid[:, :, None]
        gain = np.where(valid[:, :, None] & (sums > 0), sums**2 / (2 * np.maximum(sizes, 1e-9)), -np.inf)
        start = gain[:, :, 0].argmax(axis=1)
        near = (gain >= gain.max(axis=(1, 2), keepdims=True) - ONSET_95 * longer[:, None, None]).reshape(len(rows), -1)
        first, last = near.argmax(axis=1), near.shape[1] - 1 - near[:, ::-1].argmax(axis=1)
        times = h.times[-wide:]
        moments = (times[:, None] + PARTS * self.level).astype(np.int64).ravel()
        h.open[rows], h.began[rows] = True, times[start]
        h.low[rows] = np.minimum(moments[first], times[start])
        h.high[rows] = np.maximum(moments[last], times[start]) + self.level // len(PARTS)
        place = np.arange(len(rows))
        h.shift[rows] = sign * total[place, start] / np.maximum(n[place, start], 1) * deviation
        h.length[rows], h.over[rows], h.peak[rows] = 1, 0, 0
        mask = np.arange(wide)[None, :] >= start[:, None]
        h.out[np.ix_(rows, np.arange(h.filled - wide, h.filled))] |= mask

    def _follow(self, rows: Ints, error: Floats, deviation: Floats, edge: Floats) -> None:
        """Whether an open change goes on: it is over once the odds are, by two buckets at least."""
        if not len(rows):
            return
        h = self.history
        shift = h.shift[rows]
        size = np.maximum(np.abs(shift), edge)
        towards = np.sign(shift) * error
        gain = (size**2 / 2 - size * towards) / np.maximum(deviation, 1e-12) ** 2
        h.over[rows] = np.maximum(0, h.over[rows] + np.clip(gain, -2 * STEP, STEP))
        h.length[rows] += 1
        ended = h.over[rows] >= OVER
        h.open[rows[ended]] = False
        h.sums[rows[ended]] = -np.inf
        if h.filled >= 2:
            h.out[rows[ended], -2:] = False

    def _settle(self, rows: Ints) -> None:
        """Move the history to the level since the change began, and end it."""
        if not len(rows):
            return
        h = self.history
        after = h.times[None, :] >= h.began[rows][:, None]
        shift = np.nan_to_num(memory.middle(np.where(after, h.e[rows], np.nan)))[:, None]
        h.moved[rows] += np.where(after, 0, shift).astype(np.float32)
        h.e[rows] -= np.where(after, shift, 0).astype(np.float32)
        h.out[rows] &= ~after
        h.open[rows] = False
        h.sums[rows] = -np.inf
