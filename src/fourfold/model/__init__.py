"""Frozen records that all layers share."""

from fourfold.model.incident import Finding, Group, Incident, IncidentState, Severity, Where, finding_from_plain
from fourfold.model.names import (
    EVERYTHING,
    LABEL_PREFIX,
    LONGEST_LABEL,
    MOST_SLICES,
    OTHER,
    VERSIONS,
    Owner,
    Series,
    SeriesName,
    label_of,
    slice_key,
    slice_names,
)
from fourfold.model.objective import Objective, ObjectiveStatus
from fourfold.model.place import DUCKDB, ENGINES, SPARK, Address, Endpoint, Place, is_collector
from fourfold.model.run import Artifact, Run, RunStatus
from fourfold.model.standing import Standing
from fourfold.model.task import ALL, Dimension, Part, StreamColumn, Sums, Task
from fourfold.model.time import DAY, HOUR, KEEP_HOURS, Moment, Plausible, Window, seconds
from fourfold.model.value import Status, Value, percent

__all__ = [
    "ALL",
    "DAY",
    "DUCKDB",
    "ENGINES",
    "EVERYTHING",
    "HOUR",
    "KEEP_HOURS",
    "LABEL_PREFIX",
    "LONGEST_LABEL",
    "MOST_SLICES",
    "OTHER",
    "SPARK",
    "VERSIONS",
    "Address",
    "Artifact",
    "Dimension",
    "Endpoint",
    "Finding",
    "Group",
    "Incident",
    "IncidentState",
    "Moment",
    "Objective",
    "ObjectiveStatus",
    "Owner",
    "Part",
    "Place",
    "Plausible",
    "Run",
    "RunStatus",
    "Series",
    "SeriesName",
    "Severity",
    "Standing",
    "Status",
    "StreamColumn",
    "Sums",
    "Task",
    "Value",
    "Where",
    "Window",
    "finding_from_plain",
    "is_collector",
    "label_of",
    "percent",
    "seconds",
    "slice_key",
    "slice_names",
]
