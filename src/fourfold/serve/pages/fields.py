"""What a page sends: a small JSON object."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fourfold.serve.access import Refused
from fourfold.serve.routes import Call

_LONGEST = 4_096  # bytes


async def fields_of(call: Call, example: str) -> dict[str, Any]:
    """The fields of a request's body; ``example`` is told to who sends something else.

    Raises:
        Refused: it is too long, or no JSON object.
    """
    content = b""
    async for chunk in call.request.stream():
        content += chunk
        if len(content) > _LONGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"this request may have {_LONGEST} bytes")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"send {example}")
    return fields
