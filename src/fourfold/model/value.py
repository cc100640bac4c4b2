"""The answer of a metric."""

from __future__ import annotations

import dataclasses
from enum import StrEnum


class Status(StrEnum):
    """How final a value is: all labels are in, labels can still come, missing labels are estimated, or no data."""

    SETTLED = "settled"
    PROVISIONAL = "provisional"
    ESTIMATED = "estimated"
    NO_DATA = "no_data"


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A metric's answer: the number, its 95 % interval, and how much it is based on.

    ``value`` is None exactly when ``status`` is NO_DATA, and then ``reason`` says why. ``n`` is the number of records
    behind the value; ``coverage`` is labelled / predicted, for metrics that need labels, and ``expected_labels`` the
    share of the predictions whose label is still expected; for a distance, ``expected`` is its mean under no change at
    this sample size. For an estimate, ``reason`` says what it assumes. ``float(value)`` is the number.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    coverage: float | None = None
    status: Status = Status.SETTLED
    reason: str = ""
    expected: float | None = None
    expected_labels: float | None = None

    def __float__(self) -> float:
        """The number.

        Raises:
            ValueError: there is no data; the message is the reason.
        """
        if self.value is None:
            raise ValueError(f"no data: {self.reason}")
        return self.value

    @staticmethod
    def no_data(reason: str, n: int = 0, coverage: float | None = None) -> Value:
        """The absence of a number, and why: never 0.0, never NaN."""
        return Value(None, n=n, coverage=coverage, status=Status.NO_DATA, reason=reason)


def percent(share: float | None) -> str:
    """A share as a percentage; a small share is not shown as zero.

    >>> percent(0.9712), percent(0.00004), percent(None)
    ('97.1 %', '<0.1 %', '–')
    """
    if share is None:
        return "–"
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
