"""Ranking tasks: the items of a query ordered by score, evaluated as a whole once one of them is labelled.

An item without a label is not relevant. Items of equal score are ordered by key, except for NDCG, which averages over
their orders as scikit-learn's ``ndcg_score`` does. A query without a relevant item scores 0, and is counted as such.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fourfold.counts.binning import Binning, Floats, Ints
from fourfold.fold.columns import Plan
from fourfold.fold.tasks.joined import Joined, Mask, Measured, delays
from fourfold.model import Task

SHARES = Binning(0.5, 0.25)  # of values from 0 to 1
AT_CUTOFF = ("ndcg", "average_precision", "precision", "recall", "hit")
FIRST = "reciprocal_rank"


def series_of(task: Task) -> list[str]:
    """The numeric series that a task's queries are counted in."""
    return [FIRST, *(f"{name}_{k}" for name in AT_CUTOFF for k in task.cutoffs)]


def plan(records: Joined, known: Plan) -> Plan:
    """All values of a query are between 0 and 1."""
    return known.adding({name: SHARES for name in series_of(records.task) if name not in known.binnings})


def measure(records: Joined, known: Plan, moment: int) -> Measured:
    """What is counted of each query; ``records`` are queries, as ``judge`` makes them."""
    scored = ~records.flags("orphan") & records.flags("scored")
    outcomes = records.outcomes(scored, np.ones(len(scored), bool))
    outcomes["invalid_label"] = records.table["invalid_labels"].to_numpy()  # of items, not of queries
    labelled = scored & (outcomes["labelled"] != 0)
    predicted = ~records.flags("orphan")
    counted = {name: np.where(predicted, records.table[name].to_numpy(), 0) for name in ("items", "labelled_items")}
    nothing = np.zeros(0, np.int64)
    return Measured(
        "ranking",
        {**outcomes, **counted, "without_relevant": labelled & ~records.flags("any_relevant")},
        {},
        nothing,
        nothing,
        series={
            **{name: (records.numbers(name), labelled) for name in series_of(records.task)},
            **delays(records, labelled),
        },
    )


def judge(items: pa.Table, task: Task) -> pa.Table:
    """Queries out of their items: a row each, with what ``measure`` counts.

    A query has the time and the slices of its first item; its label's delay is that of the first label. Labels without
    a prediction stay separate rows.
    """
    orphan = items["orphan"].combine_chunks().to_numpy(zero_copy_only=False)
    found = [_queries(items.filter(pa.array(~orphan)), task)]
    if orphan.any():
        lone = items.filter(pa.array(orphan))
        nothing = {name: np.zeros(len(lone)) for name in series_of(task)}
        flags = {name: np.zeros(len(lone), bool) for name in ("scored", "any_relevant")}
        whole = {name: np.zeros(len(lone), np.int64) for name in ("items", "labelled_items", "invalid_labels")}
        found.append(_table(lone, np.arange(len(lone)), {**whole, **flags, **nothing}))
    return pa.concat_tables(found).combine_chunks()


def _queries(items: pa.Table, task: Task) -> pa.Table:
    """The queries of items that were predicted."""
    records = Joined(items, task)
    score = np.nan_to_num(records.numbers("prediction"), nan=-np.inf)
    valid = np.isfinite(records.numbers("label"))
    in_time, invalid = records.in_time & valid, records.in_time & ~valid
    code = items["query"].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy().astype(np.int64)
    size = int(code.max()) + 1 if len(code) else 0
    relevance = _within_one(np.where(in_time, records.numbers("label"), 0.0), code, size)
    key = np.unique(np.array(items["key"].to_pylist(), object).astype(str), return_inverse=True)[1]

    best = np.lexsort((key, -score, code))
    rank = _rank(code[best])
    gain, relevant = relevance[best], relevance[best] > 0
    shared = _tied_mean(code[best], score[best], gain)
    ideal = relevance[np.lexsort((-relevance, code))]
    discount = 1 / np.log2(rank + 1)
    total = np.bincount(code, relevance > 0, size)
    hits: Ints = np.cumsum(relevant) - np.repeat(_before(code[best], relevant), np.bincount(code, minlength=size))
    values: dict[str, Floats | Ints | Mask] = {}

    def per_query(numbers: npt.NDArray[Any]) -> Floats:
        summed: Floats = np.bincount(code[best], numbers, size).astype(np.float64)
        return summed

    def ratio(part: Floats, whole: npt.NDArray[Any]) -> Floats:
        with np.errstate(over="ignore"):
            share: Floats = np.divide(part, whole, out=np.zeros(size), where=whole > 0)
        return share

    first = np.full(size, np.inf)
    np.minimum.at(first, code[best][relevant], rank[relevant])
    values[FIRST] = 1 / first
    for k in task.cutoffs:
        top = rank <= k
        found = per_query(relevant * top)
        values[f"ndcg_{k}"] = np.clip(
            ratio(per_query(shared * discount * top), per_query(ideal * discount * top)), 0, 1
        )
        values[f"average_precision_{k}"] = ratio(
            per_query(relevant * top * hits / rank), np.minimum(total, k).astype(np.float64)
        )
        values[f"precision_{k}"] = found / k
        values[f"recall_{k}"] = ratio(found, total)
        values[f"hit_{k}"] = (found > 0).astype(np.float64)
    values["items"] = np.bincount(code, minlength=size)
    values["labelled_items"] = np.bincount(code[in_time], minlength=size)
    values["invalid_labels"] = np.bincount(code[invalid], minlength=size)
    values["scored"] = np.bincount(code, np.isfinite(score), size) > 0
    values["any_relevant"] = total > 0

    micros = items["time"].cast(pa.int64()).to_numpy()
    earliest = np.lexsort((key, micros, code))
    heads = earliest[np.flatnonzero(np.diff(code[earliest], prepend=-1))]
    delay = np.full(size, np.inf)
    np.minimum.at(delay, code[in_time], records.numbers("delay")[in_time])
    labelled = np.isfinite(delay)
    late = np.bincount(code, records.late, size) > 0
    withdrawn = np.bincount(code, records.flags("withdrawn"), size) > 0
    table = _table(items, heads, values)
    columns = {
        "delay": np.where(labelled, delay, np.where(late, np.inf, np.nan)),
        "has_label": labelled | late,
        "withdrawn": withdrawn & ~labelled & ~late,
        "pairs": np.bincount(code, items["pairs"].to_numpy(), size).astype(np.int64),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(column))
    return table


def _table(items: pa.Table, heads: Ints, values: dict[str, Floats | Ints | Mask]) -> pa.Table:
    """The heads of queries with the queries' values beside them, in one order of columns."""
    table = items.take(pa.array(heads))
    for name in sorted(values):
        table = table.append_column(name, pa.array(values[name]))
    return table


def _within_one(relevance: Floats, code: Ints, size: int) -> Floats:
    """Each query's relevances, from −1 to 1: over a power of two, which changes no ratio and keeps sums finite."""
    largest = np.zeros(size)
    np.maximum.at(largest, code, np.abs(relevance))
    within: Floats = np.ldexp(relevance, -np.frexp(largest)[1][code])
    return within


def _rank(code: Ints) -> Ints:
    """Each record's place among those of its code, from 1; the codes are sorted."""
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    return np.arange(len(code)) - np.repeat(starts, np.diff(np.append(starts, len(code)))) + 1


def _before(code: Ints, flags: Mask) -> Ints:
    """How many flags there are before each code's first record."""
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    return np.concatenate(([0], np.cumsum(flags)))[starts]


def _tied_mean(code: Ints, score: Floats, gain: Floats) -> Floats:
    """Each gain as the mean of those of its code with the same score; both are sorted."""
    new = np.ones(len(code), bool)
    new[1:] = (code[1:] != code[:-1]) | (score[1:] != score[:-1])
    tie = np.cumsum(new) - 1
    size = int(tie[-1]) + 1 if len(tie) else 0
    mean: Floats = (np.bincount(tie, gain, size) / np.maximum(np.bincount(tie, minlength=size), 1))[tie]
    return mean
