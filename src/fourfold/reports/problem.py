"""What ``doctor`` and the status tell of."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: what, and what to do."""

    kind: str
    subject: str
    message: str
    advice: str
