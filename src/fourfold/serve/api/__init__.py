"""What pages show, as JSON: a GET per page under ``/api/``, for the role *viewer*.

Each answer is ``{"data": …, "charts": {name: {"kind", "title", "unit", "summary", "option"}}}``: ``option`` is one of
Apache ECharts, with colours as "token:NAME" (see ``charts.tokens``) under the keys ``color``, ``borderColor`` and
``backgroundColor`` only, and without formatters. Times are ISO 8601 in UTC, lengths seconds, and numbers that JSON does
not have null. A metric's value is ``{"value", "low", "high", "n", "coverage", "status", "reason", …}``. Addresses may
say ``project``, ``start`` and ``end`` (ISO, or "-7d": so long before the end, and before the end of the data),
``every``, ``by``, ``only`` and ``without`` (slices: "carrier=AA"), ``metric``, ``against``, ``limit``, ``offset``,
``order``, and ``format`` (json, csv, parquet: the main table as a file). An answer has an ETag. In paths, names are
percent-encoded, slashes too; of a name "." or ".." clients make steps, so that it is "~." or "~..".
"""

from __future__ import annotations

from fourfold.model.access import Role
from fourfold.serve.api import settings
from fourfold.serve.api.answers import page_endpoint
from fourfold.serve.api.parameters import AGAINST, BY, ESTIMATE, METRIC, PROJECT, WHERE, WINDOW, named, wanted
from fourfold.serve.routes import Endpoint
from fourfold.views import (
    box,
    column,
    compare,
    home,
    incident,
    pipeline,
    run,
    search,
    stream,
    streams,
    task,
    tasks,
    trace,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    page_endpoint("/api/home", home.page, "Objectives, the four groups of problems, open incidents, tasks"),
    page_endpoint("/api/pipeline", pipeline.page, "The components and tasks, what feeds what, and three marks",
                  listed=True),
    page_endpoint("/api/tasks", tasks.page, "The tasks and their main metrics", listed=True),
    page_endpoint(
        "/api/tasks/{task:name}", task.page, "A task over time and by slice",
        named("task", "The task."), *WINDOW, *WHERE, BY, METRIC, ESTIMATE, listed=True,
    ),
    page_endpoint("/api/streams", streams.page, "The streams, with their components and columns", listed=True),
    page_endpoint(
        "/api/streams/{stream:name}", stream.page, "A stream and its columns",
        named("stream", "The stream."), *WINDOW, listed=True,
    ),
    page_endpoint(
        "/api/columns/{stream:name}/{column:name}", column.page, "A column now and then, and over time",
        named("stream", "The stream."), named("column", "The column."), *WINDOW, *WHERE, METRIC, AGAINST, listed=True,
    ),
    page_endpoint(
        "/api/incidents", incident.list_page, "The incidents",
        wanted("state", "open, all, or one of the states."), listed=True,
    ),
    page_endpoint(
        "/api/incidents/{id}", incident.page, "An incident, its findings in order, and what can be decided",
        named("id", "The number."), listed=True,
    ),
    Endpoint(
        "POST", "/api/incidents/{id}/{action}", settings.decide, Role.ADMIN, "Decide about an incident",
        (named("id", "The number."), named("action", "acknowledge, snooze, dismiss, confirm or resolve."), PROJECT),
    ),
    page_endpoint(
        "/api/box", box.page, "What differs inside a stretch of time, ranked",
        wanted("target", "The task, stream or column whose chart it is."), wanted("stream", "Only this stream."),
        *WINDOW, *WHERE, AGAINST, listed=True,
    ),
    page_endpoint(
        "/api/compare", compare.page, "Two windows, slices, versions or streams side by side",
        wanted("a", "START/END, carrier=AA, version:NAME or stream:NAME."), wanted("b", "Likewise."),
        wanted("target", "The task; left out, the first that declares what is compared."), *WINDOW, *WHERE, listed=True,
    ),
    page_endpoint(
        "/api/trace", trace.page, "The path of one record", wanted("key", "Its key."), listed=True, remembered=False,
    ),
    page_endpoint(
        "/api/runs", run.page, "Runs, the newest first",
        wanted("component", "Only of this component."), wanted("status", "Only of this status."),
        wanted("run", "Only this run."), listed=True,
    ),
    page_endpoint(
        "/api/search", search.page, "Everything that has a name", wanted("q", "What is looked for."), listed=True,
    ),
    Endpoint("GET", "/api/settings", settings.settings, Role.VIEWER, "What is set, and problems", (PROJECT,)),
)  # fmt: skip
