"""The problems in ``doctor`` and the status."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A problem, and what to do about it."""

    kind: str
    subject: str
    message: str
    advice: str
