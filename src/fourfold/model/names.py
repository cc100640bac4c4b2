"""Names: what has counts, series, slices, labels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

EVERYTHING = "{}"  # the slice that holds all records
VERSIONS = ("against", "version")  # the names in a slice that holds two model versions
OTHER = "(other)"  # the slice of the values beyond the most frequent ``MOST_SLICES``, and of no value (``slice_label``)
MOST_SLICES = 200
UNREADABLE_TIME = "unreadable_time"  # the column that keeps a time that cannot be read, or is implausible
LONGEST_LABEL, LABEL_PREFIX = 120, 100  # characters


def label_of(text: str) -> str:
    """A value as a label: itself, or if it is long, its first 100 characters and a hash of the whole.

    >>> label_of("AA"), len(label_of("a" * 100_000)), label_of(label_of("a" * 999)) == label_of("a" * 999)
    ('AA', 117, True)
    """
    if len(text) <= LONGEST_LABEL:
        return text
    whole = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return f"{text[:LABEL_PREFIX]}…{whole.hexdigest()}"


def slice_label(text: str) -> str:
    """A value as the label of a slice: as ``label_of``, and in quotes where it only reads like ``OTHER``.

    >>> slice_label("AA"), slice_label("(other)"), slice_label('"(other)"')
    ('AA', '"(other)"', '""(other)""')
    """
    return told_apart(label_of(text), OTHER)


def told_apart(label: str, *taken: str) -> str:
    """A label, in quotes where it reads like one that is taken.

    >>> told_apart("AA", "none"), told_apart("none", "none"), told_apart('"none"', "none")
    ('AA', '"none"', '""none""')
    """
    return f'"{label}"' if label.strip('"') in taken else label


def slice_text(label: str) -> str:
    """The value with this label of a slice; of a long one, what the label keeps of it.

    >>> slice_text("AA"), slice_text('"(other)"')
    ('AA', '(other)')
    """
    return label[1:-1] if label != OTHER and label.strip('"') == OTHER else label


def slice_key(values: Mapping[str, str | None]) -> str:
    """A slice's canonical text: JSON with sorted keys; ``{}`` is the slice of all records.

    >>> slice_key({"carrier": "AA"})
    '{"carrier": "AA"}'
    """
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False)


@functools.lru_cache(10_000)
def slice_names(key: str) -> tuple[str, ...]:
    """The names in a slice's text, sorted.

    >>> slice_names('{"carrier": "AA", "origin": null}'), slice_names("{}")
    (('carrier', 'origin'), ())
    """
    return tuple(json.loads(key))


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Owner:
    """What has counts: a stream with its columns, or a task. ``kind`` is "stream" or "task"."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @staticmethod
    def of_stream(name: str) -> Owner:
        """The owner of a stream's counts."""
        return Owner("stream", name)

    @staticmethod
    def of_task(name: str) -> Owner:
        """The owner of a task's counts."""
        return Owner("task", name)

    @property
    def key(self) -> str:
        """As text, for the state."""
        return f"{self.kind}:{self.name}"

    @staticmethod
    def from_key(text: str) -> Owner:
        """The inverse of ``key``."""
        kind, _, name = text.partition(":")
        return Owner(kind, name)


class Series(NamedTuple):
    """One counted column of one owner, in one slice; ``column`` is "" for the records themselves or a task."""

    id: int
    column: str
    kind: str  # of count: "numeric", "category", ...
    slice: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the slice."""
        return slice_names(self.slice)

    @property
    def values(self) -> dict[str, str | None]:
        """The names in the slice with their values."""
        found: dict[str, str | None] = json.loads(self.slice)
        return found

    @property
    def name(self) -> SeriesName:
        """What tells it from the owner's other series."""
        return SeriesName(self.column, self.kind, self.slice)


class SeriesName(NamedTuple):
    """What tells the series of one owner apart."""

    column: str
    kind: str
    slice: str
