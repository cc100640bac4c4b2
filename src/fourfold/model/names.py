"""Names of slices and labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

EVERYTHING = "{}"  # the slice that holds all records
VERSIONS = ("against", "version")  # the names in a slice that holds two model versions
OTHER = "(other)"  # the slice of the values beyond the most frequent ``MOST_SLICES``
MOST_SLICES = 200
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


def slice_key(values: Mapping[str, str | None]) -> str:
    """A slice's canonical text: JSON with sorted keys; ``{}`` is the slice of all records.

    >>> slice_key({"carrier": "AA"})
    '{"carrier": "AA"}'
    """
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False)


def slice_names(key: str) -> tuple[str, ...]:
    """The names in a slice's text, sorted.

    >>> slice_names('{"carrier": "AA", "origin": null}'), slice_names("{}")
    (('carrier', 'origin'), ())
    """
    return tuple(json.loads(key))
