"""The kinds of counts, and the names of their tallies and sums."""

from __future__ import annotations

from typing import NamedTuple

MAX_CATEGORIES = 256
REGISTER_BITS = 11  # 2,048 HyperLogLog registers: a standard error of 1.04 / sqrt(2048) = 2.3 %
RANK_BITS = 5


class Kind(NamedTuple):
    """The names of a kind's tallies and sums, in the order in which they are stored.

    ``labelled``: counted by text (``labels``) and not by number (``bins``); ``capped``: a row keeps its most frequent
    ``MAX_CATEGORIES`` labels, and its tally "other" counts the rest.
    """

    tallies: tuple[str, ...]
    sums: tuple[str, ...] = ()
    labelled: bool = False
    capped: bool = False


# The outcomes of a prediction, in any kind of task; ``matched`` has some label record, and ``pairs`` is its number of
# rows in a plain join of the two streams.
OUTCOMES = (
    "predicted", "labelled", "unscored", "invalid_label", "expired", "withdrawn", "orphan", "matched", "pairs",
)  # fmt: skip
RANKS = tuple(range(1, 11))  # of the actual class among those predicted, that are counted exactly

KINDS: dict[str, Kind] = {
    "stream": Kind(("rows", "null_key", "duplicate_key")),
    "numeric": Kind(
        ("rows", "null", "nan", "positive_infinity", "negative_infinity", "negative", "zero"),
        ("offset", "offset_squared"),  # of t = (x − centre) / scale over the finite values
    ),
    "category": Kind(("rows", "null", "other"), labelled=True, capped=True),
    "opaque": Kind(("rows", "null")),
    # bins: score bin × 4 + 0 (negative), 1 (positive) or 2 (without a label)
    "binary": Kind(
        (*OUTCOMES, "true_positive", "false_positive", "false_negative", "true_negative", "not_probability"),
        ("log_loss", "log_loss_squared", "brier", "brier_squared"),
    ),
    # labels: JSON, [predicted, actual]; [predicted] where there is no label yet
    "multiclass": Kind(
        (*OUTCOMES, "correct", "with_probabilities", *(f"rank_{k}" for k in RANKS)),
        ("log_loss", "log_loss_squared"),
        labelled=True,
    ),
    # labels: JSON, [class, "true_positive" | "false_positive" | "false_negative"]
    "multilabel": Kind(
        (*OUTCOMES, "exact"),
        ("precision", "precision_squared", "recall", "recall_squared", "f1", "f1_squared", "jaccard",
         "jaccard_squared", "wrong", "wrong_squared"),
        labelled=True,
    ),
    # e = actual − predicted, t = (actual − centre) / scale of the predictions' binning;
    # bins: score bin × 2^17 + residual bin + 2^16, both coarse; + 0 where there is no label
    "regression": Kind(
        (*OUTCOMES, "zero_actual"),
        ("above", "above_squared", "below", "below_squared", "error_fourth", "t", "t2", "t3", "t4", "error2_t",
         "error2_t2", "percentage", "percentage_squared", "symmetric", "symmetric_squared"),
    ),
    "ranking": Kind((*OUTCOMES, "items", "labelled_items", "without_relevant")),
    # labels: JSON, [predicted, done, outcome or null]
    "decision": Kind(
        (*OUTCOMES, "followed", "overridden", "followed_with_outcome", "overridden_with_outcome"),
        ("followed_outcome", "followed_outcome_squared", "overridden_outcome", "overridden_outcome_squared"),
        labelled=True,
    ),
    "custom": Kind(("records", "undefined")),  # sums: each expression's, then all products of two of them
    # labels: JSON, [actual, JSON of both versions' predictions]
    "paired": Kind(("pairs",), labelled=True),
    "paired_errors": Kind(("pairs",), ("absolute", "absolute_squared", "squared", "squared_squared")),
}  # fmt: skip
