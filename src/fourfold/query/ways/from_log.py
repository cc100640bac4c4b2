"""Metrics that are not additive: any function of labels and predictions, read from the log."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from fourfold.engine import Extent
from fourfold.errors import InputError
from fourfold.fold import Split
from fourfold.fold.tasks import Joined
from fourfold.metrics import FromLog
from fourfold.model import ALL, EVERYTHING, Dimension, Value
from fourfold.query.counts import Place, number_of
from fourfold.query.result import Result
from fourfold.query.ways.query import Query
from fourfold.query.ways.rows import noting, rows
from fourfold.state import catalogue


def from_log(query: Query, dimension: Dimension) -> Result:
    """A non-additive metric: its function of the labelled records of each window and slice."""
    task, custom = query.target.task, query.question.metric
    assert task is not None and isinstance(custom, FromLog)
    if task.kind not in ("binary", "multiclass", "regression"):
        raise InputError(f"{custom.name} is a function of labels and predictions; a {task.kind} task has no such pairs")
    reader = query.reader
    with reader.database.read() as connection:
        splits = {
            d: catalogue.kept_slices(connection, reader.project, task.prediction.stream, d)
            for d in [dimension]
            if d.parts
        }
    logs, bare = reader.whole(task.streams), task.without_sums
    parts: dict[Place, list[tuple[Any, Any]]] = {}
    predicted: dict[Place, int] = {}
    extent = Extent(
        as_of=query.as_of, start=query.windows[0].start * 1_000_000, end=query.windows[-1].end * 1_000_000
    )  # fmt: skip
    for table in reader.engine.joined(bare, logs, splits, extent):
        records = Joined(table, bare)
        time = table["time"].cast(pa.int64()).to_numpy() // 1_000_000
        window = number_of(query.windows, time)
        keys = _slice_keys(table, dimension, splits)
        here = ~records.flags("orphan")
        if task.version and dimension != task.by_version:  # only slices by version hold unserved predictions
            here &= records.flags("served")
        for place in sorted(set(zip(window[here].tolist(), keys[here].tolist(), strict=True))):
            mask = here & (window == place[0]) & (keys == place[1])
            predicted[place] = predicted.get(place, 0) + int(mask.sum())
            parts.setdefault(place, []).append(_pairs(records, mask & records.in_time))
    answers = {}
    for place, found in parts.items():
        actual, said = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
        answers[place] = _of_function(custom.function, actual, said, custom.sample, predicted[place])
    slices = sorted({key for _, key in answers}) or [EVERYTHING]
    return rows(query, noting(query, answers), slices)


def _slice_keys(table: pa.Table, dimension: Dimension, splits: Any) -> np.ndarray:
    """Each record's slice."""
    if dimension == ALL:
        return np.full(table.num_rows, EVERYTHING, object)
    kept_slices = splits[dimension]
    names = tuple(part.name for part in dimension.parts)
    values = tuple(table[f"slice_0_{j}"].combine_chunks() for j in range(len(names)))
    groups = Split(names, values, kept_slices.kept if kept_slices.full else None).groups(
        np.zeros(table.num_rows, np.int64)
    )
    return np.array(groups.slices, object)[groups.ids]


def _pairs(records: Joined, mask: np.ndarray) -> tuple[Any, Any]:
    """The labels and the predictions of the records that have both."""
    if records.task.kind == "multiclass":
        actual, said = (np.array(records.texts(name).to_pylist(), object) for name in ("label", "prediction"))
        usable = np.array([a is not None and s is not None for a, s in zip(actual, said, strict=True)], bool)
    else:
        actual, said = records.numbers("label"), records.numbers("prediction")
        usable = np.isfinite(said) & (np.isin(actual, (0, 1)) if records.task.kind == "binary" else np.isfinite(actual))
    return actual[mask & usable], said[mask & usable]


def _of_function(function: Any, actual: Any, said: Any, sample: int | None, predicted: int) -> Value:
    n = len(actual)
    share = n / predicted if predicted else None
    if not n:
        return Value.no_data(f"no labels yet for {predicted} predictions", coverage=share)
    note = "not additive: read from the log"
    if sample is not None and n > sample:
        picked = np.sort(np.random.default_rng(0).choice(n, sample, replace=False))
        actual, said, note = actual[picked], said[picked], f"{note}, {sample:,} of {n:,} labelled records"
    try:
        with np.errstate(all="ignore"):
            found = float(function(actual, said))
    except Exception as error:  # a user's function may raise anything; the other windows are answered
        return Value.no_data(f"the function raised {type(error).__name__}: {error}", n, share)
    if not math.isfinite(found):
        return Value.no_data(f"the function gave {found}", n, share)
    return Value(found, n=len(actual), coverage=share, reason=note)
