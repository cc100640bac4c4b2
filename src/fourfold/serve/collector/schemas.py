"""What the collector's requests and answers are, as JSON Schema, for those who write clients."""

from __future__ import annotations

from typing import Any

from fourfold.model import limits
from fourfold.serve.routes import Parameter

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": limits.NAME}
MOMENT: Schema = {
    "description": "ISO 8601, or seconds since 1970",
    "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
}
PROJECT = Parameter("project", "The project; it may be left out where only one can be meant.")


def one_or_several(schema: Schema) -> Schema:
    """One, or an array of them."""
    return {"oneOf": [schema, {"type": "array", "items": schema}]}


def an_object(needed: tuple[str, ...] = (), *, closed: bool = False, **fields: Schema) -> Schema:
    """An object with fields; ``closed``: and no others."""
    schema: Schema = {"type": "object", "properties": fields, "required": list(needed)}
    return {**schema, "additionalProperties": False} if closed else schema


_SOME: Schema = {"type": "integer", "minimum": 1}
TAKEN = an_object(
    ("taken", "rejected"),
    taken={"type": "integer", "minimum": 0},
    rejected={
        "type": "array",
        "items": an_object(("record", "reason"), record={"type": "integer", "minimum": 0}, reason={"type": "string"}),
    },
    times={
        "description": "how many event times cannot be read, or are implausible; these records count as of now",
        **an_object((), closed=True, unreadable=_SOME, implausible=_SOME),
    },
)
COUNTED = an_object(("taken",), taken={"type": "integer", "minimum": 0}, ignored={"type": "integer", "minimum": 0})
RECORDS = one_or_several({"type": "object"})
EVENT = an_object(
    ("specversion", "id", "source", "type"),
    specversion={"const": "1.0"}, id=TEXT, source=TEXT, type=TEXT, subject=TEXT, time={"type": "string"},
)  # fmt: skip
_ARTIFACT = an_object(
    ("name", "direction"),
    closed=True,
    name=TEXT, direction={"enum": ["input", "output"]}, kind=TEXT, fingerprint=TEXT,
    rows={"type": "integer", "minimum": 0}, details={"type": "object"},
)  # fmt: skip
RUN = an_object(
    ("id", "component"),
    closed=True,
    id=TEXT, component=TEXT, status={"enum": ["running", "succeeded", "failed"]}, started=MOMENT, ended=MOMENT,
    at=MOMENT, parent=TEXT, host=TEXT, process={"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    error={"type": "string"}, code={"type": "object"}, params={"type": "object"},
    metrics={"type": "object", "additionalProperties": {"type": "number"}},
    artifacts={"type": "array", "items": _ARTIFACT},
)  # fmt: skip
_NAMED = an_object(("namespace", "name"), namespace=TEXT, name=TEXT)
LINEAGE = an_object(
    (),
    eventTime={"type": "string", "format": "date-time"},
    eventType={"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
    run=an_object(("runId",), runId=TEXT), job=_NAMED, inputs={"type": "array", "items": _NAMED},
    outputs={"type": "array", "items": _NAMED},
)  # fmt: skip
