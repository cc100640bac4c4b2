"""What a page sends: a small JSON object."""

from __future__ import annotations

from typing import Any

from fourfold.errors import InputError
from fourfold.serve.bodies import parsed_json
from fourfold.serve.routes import Call

_LONGEST = 4_096  # bytes


async def fields_of(call: Call, example: str) -> dict[str, Any]:
    """The fields of a request's body; ``example`` is told to who sends something else.

    Raises:
        Refused: it is too long.
        InputError: it is no JSON object.
    """
    try:
        fields = parsed_json(await call.body(), most=_LONGEST)
    except InputError:
        fields = None
    if not isinstance(fields, dict):
        raise InputError(f"send {example}")
    return fields
