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
from typing import TYPE_CHECKING, Any

from fourfold.errors import ConfigError, FourfoldError, InputError, SchemaError, StoreError, UnknownNameError
from fourfold.model import Status, Value
from fourfold.sdk import component, flush, init, log, run, task

if TYPE_CHECKING:
    from fourfold import metrics
    from fourfold.query.result import Result
    from fourfold.sdk.history import history
    from fourfold.sdk.questions import compare, discrepancies, metric, skew, trace

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "FourfoldError",
    "InputError",
    "Result",
    "SchemaError",
    "Status",
    "StoreError",
    "UnknownNameError",
    "Value",
    "compare",
    "component",
    "discrepancies",
    "flush",
    "history",
    "init",
    "log",
    "metric",
    "metrics",
    "run",
    "skew",
    "task",
    "trace",
]
_LATER = {  # what asks loads the engines, which a service that only logs does without
    "metrics": "metrics", "history": "sdk.history", "Result": "store",
    **dict.fromkeys(("compare", "discrepancies", "metric", "skew", "trace"), "sdk.questions"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LATER[name]}")
    found = module if name == "metrics" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
