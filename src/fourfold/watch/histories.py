"""The large part of what the watch remembers, which grows with the number of series: detectors, and anchors."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from fourfold.watch.detect import Detector
from fourfold.watch.signals.anchors import CELLS, Anchor, Identity

_ANCHORS = "anchors"
_CHECK, _LENGTH = 4, 8  # bytes of the checksum, and of the length of the text after it


class DamagedMemoryError(ValueError):
    """What was remembered cannot be read: it is of another version, incomplete, or changed by something else."""


@dataclasses.dataclass
class Histories:
    """Detectors by name; and anchors by level (hour or day) and series."""

    detectors: dict[str, Detector] = dataclasses.field(default_factory=dict)
    anchors: dict[int, dict[Identity, Anchor]] = dataclasses.field(default_factory=dict)

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """As the state keeps them: bytes by name."""
        yield _ANCHORS, _packed(self.anchors)
        for name, detector in self.detectors.items():
            yield name, detector.to_bytes()

    @staticmethod
    def of(parts: Mapping[str, bytes]) -> Histories:
        """The inverse of ``parts``.

        Raises:
            DamagedMemoryError: the bytes are damaged, or of another version.
        """
        try:
            detectors = {name: Detector.from_bytes(data) for name, data in parts.items() if name != _ANCHORS}
            return Histories(detectors, _unpacked(parts[_ANCHORS]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DamagedMemoryError(f"the watch's memory is damaged: {type(error).__name__}: {error}") from error


def _packed(anchors: Mapping[int, Mapping[Identity, Anchor]]) -> bytes:
    several = [anchor for found in anchors.values() for anchor in found.values()]
    edges = np.array([a.edges or [np.nan] * (CELLS - 1) for a in several], "<f8").reshape(-1, CELLS - 1)
    reference = np.array([a.reference for a in several], "<f8").reshape(-1, CELLS)
    plain = {
        "names": [(level, *name) for level, found in anchors.items() for name in found],
        "labels": {i: [a.labels, sorted(a.seen)] for i, a in enumerate(several) if a.seen},
        "generations": [[a.generation, a.since, a.coarse] for a in several],
    }
    text = json.dumps(plain).encode()
    body = b"".join((len(text).to_bytes(_LENGTH, "big"), text, edges.tobytes(), reference.tobytes()))
    return zlib.crc32(body).to_bytes(_CHECK, "big") + body


def _unpacked(data: bytes) -> dict[int, dict[Identity, Anchor]]:
    body = memoryview(data)[_CHECK:]
    if zlib.crc32(body).to_bytes(_CHECK, "big") != data[:_CHECK]:
        raise ValueError("the checksum of the anchors does not fit")
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
    plain = json.loads(bytes(body[_LENGTH:end]))
    size = len(plain["names"])
    edges = np.frombuffer(body, "<f8", size * (CELLS - 1), end).reshape(-1, CELLS - 1)
    reference = np.frombuffer(body, "<f8", size * CELLS, end + edges.nbytes).reshape(-1, CELLS).copy()
    fixed, labels = edges.tolist(), plain["labels"]
    has_edges = (~np.isnan(edges).any(axis=1)).tolist()
    found: dict[int, dict[Identity, Anchor]] = {}
    for i, (level, stream, column, kind, slice_) in enumerate(plain["names"]):
        frequent, seen = labels.get(str(i), ([], ()))
        generation, since, coarse = plain["generations"][i]
        found.setdefault(level, {})[stream, column, kind, slice_] = Anchor(
            fixed[i] if has_edges[i] else [], frequent, set(seen), reference[i], since, coarse, generation
        )
    return found
