"""The names of colours, and what they are in a static picture, which is seen on light and on dark ground.

The series' colours are those of Okabe and Ito, which colour-blind readers tell apart, without the red ones: red is for
what is broken.
"""

from __future__ import annotations

COLOURS = {
    "accent": "#0072b2", "text": "currentColor", "muted": "#808080", "grid": "#b0b0b0", "surface": "none",
    "series-1": "#0072b2", "series-2": "#e69f00", "series-3": "#009e73", "series-4": "#cc79a7",
    "series-5": "#56b4e9", "series-6": "#8f6b1f", "series-7": "#6f5fa7", "series-8": "#7f8c8d",
    "interval": "#0072b2", "band": "#999999", "broken": "#c4001d", "warning": "#b8860b", "ok": "#009e73",
    "changed": "#6f5fa7", "worse": "#c4001d", "touched": "#e69f00",
    "ramp-0": "#f2f0f7", "ramp-1": "#cbc9e2", "ramp-2": "#9e9ac8", "ramp-3": "#756bb1", "ramp-4": "#54278f",
    "diverge-0": "#b35806", "diverge-1": "#f1a340", "diverge-2": "#e8e8e8", "diverge-3": "#998ec3",
    "diverge-4": "#542788",
}  # fmt: skip
RAMP = tuple(f"ramp-{i}" for i in range(5))
DIVERGING = tuple(f"diverge-{i}" for i in range(5))
_SERIES = 8


def series(number: int) -> str:
    """The colour of the series of that number, from 0."""
    return f"series-{number % _SERIES + 1}"


def token(name: str) -> str:
    """A colour as an option names it.

    >>> token("accent")
    'token:accent'
    """
    assert name in COLOURS, name
    return f"token:{name}"
