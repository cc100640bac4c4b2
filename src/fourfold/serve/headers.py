"""One header of a request, for what looks at each of thousands a second."""

from __future__ import annotations

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, which is in lower case; None where there is none."""
    for own, value in scope["headers"]:
        if own == name:
            found: str = value.decode("latin-1")
            return found
    return None
