"""Metrics: pure functions from counts to ``Value``, by scikit-learn's names.

To add one, write its function in the file of its family, put ``@metric`` above it and describe it in docs/metrics.md.
A name may have several functions, each for other kinds of tasks: ``recall`` for binary and for multiclass tasks.
"""

from fourfold.metrics import quality, drift, tasks, classification, classes, regression, ranking  # isort: skip
from fourfold.metrics.custom import register
from fourfold.metrics.declared import METRICS, Additive, Curve, FromLog, Parameter, metric
from fourfold.metrics.questions import Question, headlines, known_metrics, parse

__all__ = [
    "METRICS",
    "Additive",
    "Curve",
    "FromLog",
    "Parameter",
    "Question",
    "classes",
    "classification",
    "drift",
    "headlines",
    "known_metrics",
    "metric",
    "parse",
    "quality",
    "ranking",
    "register",
    "regression",
    "tasks",
]
