"""fourfold: monitor machine-learning pipelines after deployment.

>>> import fourfold as ff                                                       # doctest: +SKIP
>>> ff.init(project="flights")                                                  # doctest: +SKIP
>>> ff.log("predict", key="AA1", score=0.83, carrier="AA")                      # doctest: +SKIP
>>> ff.log("arrivals", key="AA1", late=True)                                    # doctest: +SKIP
>>> ff.task("late", prediction="predict.score", label="arrivals.late")          # doctest: +SKIP
>>> ff.metric("late", "recall", every="1d")                                     # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fourfold.errors import (
    CheckError,
    ConfigError,
    FourfoldError,
    InputError,
    SchemaError,
    StoreError,
    UnknownNameError,
)
from fourfold.model import (
    Artifact,
    Finding,
    Group,
    Incident,
    IncidentState,
    Objective,
    ObjectiveStatus,
    Run,
    RunStatus,
    Severity,
    Status,
    Task,
    Value,
    Where,
    Window,
)
from fourfold.sdk import component, flush, init, log, objective, run, task

if TYPE_CHECKING:
    from fourfold import metrics
    from fourfold.engine import Discrepancy
    from fourfold.metrics.skew import ColumnSkew, SkewFinding
    from fourfold.query.result import Result, Row
    from fourfold.query.table import Table
    from fourfold.reports.compare import Comparison, Difference
    from fourfold.reports.components import ComponentView
    from fourfold.reports.drift import Drift
    from fourfold.reports.joins import Join
    from fourfold.reports.problem import Problem
    from fourfold.reports.slices import SliceView
    from fourfold.reports.status import StatusReport
    from fourfold.reports.streams import StreamView
    from fourfold.reports.tasks import DimensionView, TaskView
    from fourfold.reports.trace import Step, Trace, TracedValue
    from fourfold.sdk.history import ColumnHistory, History, history
    from fourfold.sdk.objectives import objectives
    from fourfold.sdk.questions import (
        compare,
        delete,
        discrepancies,
        metric,
        problems,
        runs,
        skew,
        status,
        streams,
        trace,
    )
    from fourfold.sdk.watching import check, incidents
    from fourfold.watch.objectives import ObjectiveView

__version__ = "0.1.0"
_LATER = {  # by module: what asks loads the engines, which a service that only logs does without
    "engine": ("Discrepancy",),
    "metrics.skew": ("ColumnSkew", "SkewFinding"),
    "query.result": ("Result", "Row"),
    "query.table": ("Table",),
    "reports.compare": ("Comparison", "Difference"),
    "reports.components": ("ComponentView",),
    "reports.drift": ("Drift",),
    "reports.joins": ("Join",),
    "reports.problem": ("Problem",),
    "reports.slices": ("SliceView",),
    "reports.status": ("StatusReport",),
    "reports.streams": ("StreamView",),
    "reports.tasks": ("DimensionView", "TaskView"),
    "reports.trace": ("Step", "Trace", "TracedValue"),
    "sdk.history": ("ColumnHistory", "History", "history"),
    "sdk.objectives": ("objectives",),
    "watch.objectives": ("ObjectiveView",),
    "sdk.watching": ("check", "incidents"),
    "sdk.questions": (
        "compare", "delete", "discrepancies", "metric", "problems", "runs", "skew", "status", "streams", "trace",
    ),
}  # fmt: skip
__all__ = [
    "Artifact",
    "CheckError",
    "ColumnHistory",
    "ColumnSkew",
    "Comparison",
    "ComponentView",
    "ConfigError",
    "Difference",
    "DimensionView",
    "Discrepancy",
    "Drift",
    "Finding",
    "FourfoldError",
    "Group",
    "History",
    "Incident",
    "IncidentState",
    "InputError",
    "Join",
    "Objective",
    "ObjectiveStatus",
    "ObjectiveView",
    "Problem",
    "Result",
    "Row",
    "Run",
    "RunStatus",
    "SchemaError",
    "Severity",
    "SkewFinding",
    "SliceView",
    "Status",
    "StatusReport",
    "Step",
    "StoreError",
    "StreamView",
    "Table",
    "Task",
    "TaskView",
    "Trace",
    "TracedValue",
    "UnknownNameError",
    "Value",
    "Where",
    "Window",
    "check",
    "compare",
    "component",
    "delete",
    "discrepancies",
    "flush",
    "history",
    "incidents",
    "init",
    "log",
    "metric",
    "metrics",
    "objective",
    "objectives",
    "problems",
    "run",
    "runs",
    "skew",
    "status",
    "streams",
    "task",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return importlib.import_module(f"{__name__}.metrics")
    for module, names in _LATER.items():
        if name in names:
            if find_spec("fourfold.store") is None:
                raise AttributeError(
                    f"ff.{name}: fourfold-client only sends; install fourfold, and ask where the store is"
                )
            member = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = member
            return member
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
