"""What a request carries as JSON: one place where it is read, so that no body is anything but taken or refused."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fourfold.errors import InputError
from fourfold.model import limits
from fourfold.serve.access import Refused

_FEW = 1 << 20  # bytes that need no look at what they hold


def parsed_json(content: bytes, what: str = "the body", *, most: int = limits.JSON) -> Any:
    """JSON as plain values; it may have so many bytes.

    Raises:
        InputError: it is none.
        Refused: it is too large, or would be as values.
    """
    if len(content) > most:
        text = f"{what} has {len(content):,} bytes of JSON; send at most {most:,} at once"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    if len(content) > _FEW and (parts := content.count(b"{") + content.count(b"[")) > limits.PARTS:
        text = f"{what} has {parts:,} objects and lists; send at most {limits.PARTS:,} at once"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{what} is no JSON: {reason}") from error
