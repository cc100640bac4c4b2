"""What pages show, as JSON: a GET per page under ``/api/``, for the role *viewer*.

Each answer is ``{"data": …, "charts": {name: {"kind", "title", "unit", "summary", "option"}}}``: ``option`` is one of
Apache ECharts, with colours as "token:NAME" (see ``charts.tokens``) under the keys ``color``, ``borderColor`` and
``backgroundColor`` only, and without formatters. Times are ISO 8601 in UTC, lengths seconds, and numbers that JSON does
not have null. A metric's value is ``{"value", "low", "high", "n", "coverage", "status", "reason", …}``. Addresses may
say ``project``, ``start`` and ``end`` (ISO, or "-7d": so long before the end of the data), ``every``, ``by``, ``only``
and ``without`` (slices: "carrier=AA"), ``metric``, ``against``, ``limit``, ``offset``, ``order``, and ``format`` (json,
csv, parquet: the main table as a file). An answer has an ETag. In paths, names are percent-encoded, slashes too.
"""

from __future__ import annotations

from fourfold.serve.api.answers import page_endpoint
from fourfold.serve.routes import Endpoint
from fourfold.views import home

ENDPOINTS: tuple[Endpoint, ...] = (
    page_endpoint("/api/home", home.page, "Objectives, the four groups of problems, open incidents, tasks"),
)
