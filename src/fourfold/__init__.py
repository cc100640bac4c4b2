"""fourfold: monitor machine-learning pipelines after deployment.

>>> import fourfold as ff                                                       # doctest: +SKIP
>>> ff.init(project="flights")                                                  # doctest: +SKIP
>>> ff.log("predict", key="AA1", score=0.83, carrier="AA")                      # doctest: +SKIP
>>> ff.log("arrivals", key="AA1", late=True)                                    # doctest: +SKIP
>>> ff.task("late", prediction="predict.score", label="arrivals.late")          # doctest: +SKIP
>>> ff.metric("late", "recall", every="1d")                                     # doctest: +SKIP
"""

from fourfold import metrics
from fourfold.errors import ConfigError, FourfoldError, InputError, SchemaError, StoreError, UnknownNameError
from fourfold.model import Status, Value
from fourfold.sdk import (
    compare,
    component,
    discrepancies,
    flush,
    history,
    init,
    log,
    metric,
    run,
    skew,
    task,
    trace,
)
from fourfold.store import Result

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
