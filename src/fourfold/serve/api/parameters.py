"""What the addresses of pages may say, described once, for people and for programs."""

from __future__ import annotations

from fourfold.serve.routes import Parameter
from fourfold.views.asking import MOST

PROJECT = Parameter("project", "The project; left out where there is only one.")
WINDOW = (
    Parameter("start", "From when: ISO 8601, or a length before the end, such as -7d."),
    Parameter("end", "Until when; likewise, before the end of the data."),
    Parameter("every", "The length of the parts: 1h, 1d, 1w.", {"type": "string", "pattern": "^[0-9]+[hdw]$"}),
)
BY = Parameter("by", "A name of slices to split by; several are crossed.", repeated=True)
WHERE = (
    Parameter("only", "Only the records of a slice: carrier=AA.", repeated=True),
    Parameter("without", "All records but those of a slice: carrier=AA.", repeated=True),
)
METRIC = Parameter("metric", "The metric, as in recall or quantile(0.9).")
_ONE = {"type": "string", "enum": ["1"]}
ESTIMATE = Parameter("estimate", "1: also the metric as expected once all labels are in.", _ONE)
AGAINST = Parameter("against", "What to compare with: before, rest, a stream or column, or START/END.")
LIST = (
    Parameter("limit", "How many rows.", {"type": "integer", "minimum": 0, "maximum": MOST}),
    Parameter("offset", "How many rows to leave out at the beginning.", {"type": "integer", "minimum": 0}),
    Parameter("order", "The field to order by; -field is descending."),
)
FORMAT = Parameter("format", "The main table as a file.", {"type": "string", "enum": ["json", "csv", "parquet"]})


def named(name: str, description: str) -> Parameter:
    """A name in the path, percent-encoded, a slash too."""
    return Parameter(name, description, place="path", required=True)


def wanted(name: str, description: str) -> Parameter:
    """A text in the query."""
    return Parameter(name, description)
