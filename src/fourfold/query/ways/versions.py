"""Two model versions on the same keys: the first's metric − the second's."""

from __future__ import annotations

import dataclasses
import json

from fourfold.errors import InputError
from fourfold.metrics import Additive, paired
from fourfold.model import EVERYTHING, VERSIONS, Value, label_of, slice_key
from fourfold.query.counts import Place, by_window
from fourfold.query.result import Result
from fourfold.query.ways.query import Query
from fourfold.query.ways.rows import noting, rows


def of_versions(query: Query, versions: tuple[str, str]) -> Result:
    """The first version's metric − the second's."""
    task = query.target.task
    if task is None or not task.version:
        raise InputError("versions= is for tasks that declare version=, the column of the model version")
    if len(versions) != 2 or versions[0] == versions[1]:
        raise InputError(f"versions={versions!r}: give two different ones")
    metric = query.question.metric
    assert isinstance(metric, Additive)
    if query.names or query.question.parameters:
        raise InputError("two versions are compared over all records and at the task's threshold")
    first, second = (label_of(str(v)) for v in versions)
    low, high = sorted((first, second))
    against, version = VERSIONS
    key = slice_key({version: low, against: high})
    kind = "paired_errors" if task.kind == "regression" else "paired"
    found, known = by_window(query.source, "versions", (kind,), tuple(sorted(VERSIONS)), query.windows, query.level)
    if key not in known:
        pairs = sorted({f"{json.loads(k)[version]} and {json.loads(k)[against]}" for k in known})
        raise InputError(
            f"no key was predicted by both {first!r} and {second!r}; known pairs: {', '.join(pairs) or 'none'}"
        )
    answers: dict[Place, Value] = {}
    for (i, slice_), entry in found:
        if slice_ == key:
            value = paired.difference(entry, metric)
            answers[i, EVERYTHING] = value if first == low else _negated(value)
    return rows(query, noting(query, answers), [EVERYTHING], text=f"{query.question.text}({first} − {second})")


def _negated(value: Value) -> Value:
    if value.value is None or value.low is None or value.high is None:
        return value
    return dataclasses.replace(value, value=-value.value, low=-value.high, high=-value.low)
