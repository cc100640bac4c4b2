"""CloudEvents 1.0 as records: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

An event's type is the stream, its subject the key, its time the event time; the fields of its data are the columns, and
data that is no object is the column ``data``. Its source and id together identify it: it counts once.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fourfold.errors import InputError

STRUCTURED, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
_REQUIRED = ("id", "source", "type", "specversion")
_PREFIX = "ce-"


@dataclasses.dataclass(frozen=True)
class Event:
    """An event, with its data as fields of a record."""

    id: str
    source: str
    type: str
    subject: str | None
    time: str | None
    fields: Mapping[str, Any]


def structured(event: Any) -> Event:
    """An event whose attributes and data are one JSON object.

    >>> structured({"specversion": "1.0", "id": "1", "source": "/app", "type": "predict", "data": {"a": 0.5}}).fields
    {'a': 0.5}

    Raises:
        InputError: it is no event of this version.
    """
    if not isinstance(event, dict):
        raise InputError(f"an event is an object, and not {type(event).__name__}")
    if "data" in event and "data_base64" in event:
        raise InputError("the event has both data and data_base64; it may have one of them")
    data = event.get("data")
    if (text := event.get("data_base64")) is not None:
        data = _decoded(text, str(event.get("datacontenttype") or ""))
    return _event(event, data)


def binary(headers: Mapping[str, str], content: bytes) -> Event:
    """An event whose attributes are headers, by their names in lower case, and whose data is the body.

    Raises:
        InputError: it is no event of this version.
    """
    attributes = {
        name.removeprefix(_PREFIX): unquote(value) for name, value in headers.items() if name.startswith(_PREFIX)
    }
    return _event(attributes, _read(content, headers.get("content-type", "")) if content else None)


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether headers are those of an event in binary mode."""
    return f"{_PREFIX}specversion" in headers


def _event(attributes: Mapping[str, Any], data: Any) -> Event:
    for name in (*_REQUIRED, "subject", "time"):
        value = attributes.get(name)
        if value is None and name not in _REQUIRED:
            continue
        if not isinstance(value, str) or not value:
            raise InputError(f"the event's {name}={value!r}: it has to be a text that is not empty")
    if attributes["specversion"] != "1.0":
        raise InputError(f"the event's specversion={attributes['specversion']!r}: only '1.0' is known")
    fields = data if isinstance(data, dict) else {} if data is None else {"data": data}
    return Event(
        attributes["id"], attributes["source"], attributes["type"], attributes.get("subject"), attributes.get("time"),
        fields,
    )  # fmt: skip


def _decoded(text: Any, content_type: str) -> Any:
    try:
        return _read(base64.b64decode(text, validate=True), content_type)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError(f"the event's data_base64 cannot be read: {error}") from error


def _read(content: bytes, content_type: str) -> Any:
    if _is_json(content_type):
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the event's data is no JSON: {error}") from error
    if content_type.partition("/")[0].strip().lower() == "text":
        return content.decode("utf-8", "backslashreplace")
    return content


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind.endswith(("/json", "+json"))
