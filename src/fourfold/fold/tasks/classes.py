"""Multiclass, multilabel and decision tasks: texts against texts, counted by the pairs that occur."""

from __future__ import annotations

import bisect
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fourfold.counts import RANKS
from fourfold.counts.binning import Floats, Ints
from fourfold.errors import InputError
from fourfold.fold.arrays import values_of
from fourfold.fold.category import labels_of
from fourfold.fold.columns import Plan
from fourfold.fold.tasks.joined import Joined, Mask, Measured, at, delays
from fourfold.model import label_of


def plan(records: Joined, known: Plan) -> Plan:
    """Classes have no bins."""
    return known


def multiclass(records: Joined, known: Plan, moment: int) -> Measured:
    """A class against a class; where there are probabilities, also their log loss and the actual class's rank."""
    predicted, actual = records.texts("prediction"), records.texts("label")
    scored = ~records.flags("orphan") & valid(predicted)
    outcomes = records.outcomes(scored, valid(actual))
    labelled = scored & (outcomes["labelled"] != 0)
    loss, rank = np.zeros(len(labelled)), np.zeros(len(labelled), np.int64)
    judged = np.zeros(len(labelled), bool)
    if records.task.probabilities:
        share, rank, judged = _of_actual(records, actual)
        judged &= labelled
        loss = at(-np.log(np.clip(share, np.finfo(np.float64).eps, 1.0)), judged)
    at_records = np.flatnonzero(scored)
    known_actual = pc.if_else(pa.array(labelled), labels_of(actual), None)
    codes, names = paired_names(labels_of(predicted), known_actual, at_records, drop_null=True)
    right = labelled & pc.fill_null(pc.equal(predicted, actual), False).to_numpy(zero_copy_only=False)
    return Measured(
        "multiclass",
        {
            **outcomes,
            "correct": right,
            "with_probabilities": judged,
            **{f"rank_{k}": judged & (rank == k) for k in RANKS},
        },
        {"log_loss": loss, "log_loss_squared": loss**2},
        at_records,
        codes,
        names,
        delays(records, labelled),
    )


def multilabel(records: Joined, known: Plan, moment: int) -> Measured:
    """A set of classes against a set: per class right, too much and missing; per record the shares."""
    predicted, actual = (_sets(records.table[name]) for name in ("prediction", "label"))
    present = [np.array([entry is not None for entry in side], bool) for side in (predicted, actual)]
    scored = ~records.flags("orphan") & present[0]
    outcomes = records.outcomes(scored, present[1])
    labelled = scored & (outcomes["labelled"] != 0)
    size = len(labelled)
    shares = {name: np.zeros(size) for name in ("precision", "recall", "f1", "jaccard", "wrong")}
    exact = np.zeros(size, bool)
    places: list[int] = []
    cells: list[tuple[str, str]] = []
    for i in np.flatnonzero(labelled).tolist():
        said, true = predicted[i] or frozenset(), actual[i] or frozenset()
        both = said & true
        for cell, classes in (
            ("true_positive", both),
            ("false_positive", said - true),
            ("false_negative", true - said),
        ):
            places += [i] * len(classes)
            cells += [(label_of(name), cell) for name in sorted(classes)]
        exact[i] = said == true
        shares["precision"][i] = len(both) / len(said) if said else 0.0
        shares["recall"][i] = len(both) / len(true) if true else 0.0
        shares["f1"][i] = 2 * len(both) / (len(said) + len(true)) if said or true else 0.0
        shares["jaccard"][i] = len(both) / len(said | true) if said or true else 0.0
        shares["wrong"][i] = len(said ^ true)
    distinct = sorted(set(cells))
    place = {cell: i for i, cell in enumerate(distinct)}
    return Measured(
        "multilabel",
        {**outcomes, "exact": exact},
        {
            key: entry
            for name, values in shares.items()
            for key, entry in ((name, values), (f"{name}_squared", values**2))
        },
        np.array(places, np.int64),
        np.array([place[cell] for cell in cells], np.int64),
        pa.array([json.dumps(cell, ensure_ascii=False) for cell in distinct], pa.string()),
        delays(records, labelled),
    )


def decision(records: Joined, known: Plan, moment: int) -> Measured:
    """The recommended action against the action taken, with the outcome if it is known."""
    predicted, done = records.texts("prediction"), records.texts("label")
    if records.task.threshold is not None:
        score = records.numbers("prediction")
        decided = pa.array(score >= records.task.threshold).cast(pa.string())
        predicted = pc.if_else(pa.array(np.isfinite(score)), decided, None)
    scored = ~records.flags("orphan") & valid(predicted)
    outcomes = records.outcomes(scored, valid(done))
    labelled = scored & (outcomes["labelled"] != 0)
    same = pc.fill_null(pc.equal(predicted, done), False).to_numpy(zero_copy_only=False)
    outcome = records.numbers("outcome") if records.task.outcome else np.full(len(labelled), np.nan)
    known_outcome = np.isfinite(outcome)
    followed, overridden = labelled & same, labelled & ~same
    at_records = np.flatnonzero(labelled)
    codes, names = paired_names(labels_of(predicted), labels_of(done), at_records)
    outcome = at(outcome, known_outcome & labelled)
    with np.errstate(over="ignore"):
        squared = outcome**2
    return Measured(
        "decision",
        {
            **outcomes,
            "followed": followed,
            "overridden": overridden,
            "followed_with_outcome": followed & known_outcome,
            "overridden_with_outcome": overridden & known_outcome,
        },
        {
            "followed_outcome": at(outcome, followed), "followed_outcome_squared": at(squared, followed),
            "overridden_outcome": at(outcome, overridden), "overridden_outcome_squared": at(squared, overridden),
        },
        at_records,
        codes,
        names,
        delays(records, labelled),
        magnitudes=[np.abs(outcome)],
    )  # fmt: skip


def valid(texts: pa.Array) -> Mask:
    """Where a text is not null."""
    flags: Mask = texts.is_valid().to_numpy(zero_copy_only=False)
    return flags


def paired_names(
    first: pa.Array, second: pa.Array, records: Ints, *, drop_null: bool = False
) -> tuple[Ints, pa.StringArray]:
    """For some records the code of their pair of texts, and the pairs that occur as JSON.

    ``drop_null``: a pair whose second is null is a list of one.
    """
    picked = [side.take(pa.array(records)).dictionary_encode(null_encoding="encode") for side in (first, second)]
    texts = [side.dictionary.to_pylist() for side in picked]
    one, other = (side.indices.to_numpy().astype(np.int64) for side in picked)
    width = max(len(texts[1]), 1)
    pairs, codes = np.unique(one * width + other, return_inverse=True)
    names = []
    for pair in pairs.tolist():
        cell = [texts[0][pair // width], texts[1][pair % width]]
        names.append(json.dumps(cell[:1] if drop_null and cell[1] is None else cell, ensure_ascii=False))
    return codes.astype(np.int64), pa.array(names, pa.string())


def _sets(column: pa.ChunkedArray) -> list[frozenset[str] | None]:
    return [None if entry is None else frozenset(str(e) for e in entry if e is not None) for entry in values_of(column)]


def _of_actual(records: Joined, actual: pa.StringArray) -> tuple[Floats, Ints, Mask]:
    """The probability given to the actual class, its rank among all (ties: the class later in the alphabet first,
    as in scikit-learn's ``top_k_accuracy_score``), and where there are probabilities.

    A class that is not given has probability 0; of a mapping, its classes are those that the record itself names, so
    that a rank depends on no other record.
    """
    column = records.table["probabilities"].combine_chunks()
    names, matrix = _matrix(column, records.task.classes)
    given = column.is_valid().to_numpy(zero_copy_only=False) & np.isfinite(matrix).any(axis=1)
    order = np.argsort(np.array(names, object)) if names else np.zeros(0, np.int64)
    names, matrix = [names[i] for i in order], matrix[:, order]
    if not pa.types.is_map(column.type):
        matrix = np.nan_to_num(matrix, nan=0.0)
    place = {name: i for i, name in enumerate(names)}
    texts = actual.to_pylist()
    at_class = np.array([place.get(text, -1) for text in texts], np.int64)
    rows = np.arange(len(at_class))
    share = np.nan_to_num(np.where(at_class >= 0, matrix[rows, at_class] if names else 0.0, 0.0), nan=0.0)
    above = (matrix > share[:, None]).sum(axis=1)
    later = np.array([bisect.bisect_right(names, text or "") for text in texts], np.int64)
    ties = ((matrix == share[:, None]) & (np.arange(len(names)) >= later[:, None])).sum(axis=1)
    known = np.full(len(texts), True) if pa.types.is_map(column.type) else at_class >= 0
    rank = np.where(known, 1 + above + ties, len(names) + 1)
    return share, rank, given


def _matrix(column: pa.Array, classes: tuple[str, ...]) -> tuple[list[str], Floats]:
    """Class probabilities as a matrix, records × classes, NaN where there is none."""
    kind = column.type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        parts = [pc.struct_field(column, i).cast(pa.float64()).fill_null(np.nan) for i in range(len(names))]
        return names, np.column_stack([p.to_numpy(zero_copy_only=False) for p in parts]) if parts else np.zeros(
            (len(column), 0)
        )
    if pa.types.is_map(kind):
        found = [dict(entry or ()) for entry in values_of(column)]
        names = sorted({str(name) for entry in found for name in entry})
        return names, np.array([[_number(entry.get(name)) for name in names] for entry in found], np.float64).reshape(
            len(found), len(names)
        )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not classes:
            raise InputError("probabilities come as lists: declare the task with classes=[…], in the lists' order")
        matrix = np.full((len(column), len(classes)), np.nan)
        for i, entry in enumerate(values_of(column)):
            values = [_number(v) for v in (entry or [])][: len(classes)]
            matrix[i, : len(values)] = values
        return list(classes), matrix
    return [], np.zeros((len(column), 0))


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
