"""How often the stated 95 % intervals hold the true value, by simulation: writes docs/intervals.md."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.support import fold_joined

from fourfold import config
from fourfold.metrics import parse
from fourfold.metrics.paired import difference
from fourfold.model import Task, Value

SIZES = (50, 500, 5_000)
TRUTH = 400_000  # records of one of the parts from whose mean the true value is read
PARTS = 10
Draw = Callable[[np.random.Generator, int], tuple[Any, Any, dict[str, Any]]]


def _binary(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """Scores that are slightly too sure of themselves; 40 % of the labels are positive."""
    logit = random.normal(-0.5, 1.5, n)
    label = random.random(n) < 1 / (1 + np.exp(-logit))
    return 1 / (1 + np.exp(-1.3 * logit)), label.astype(np.int64), {}


def _multiclass(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """Three classes, 50, 30 and 20 %, with probabilities."""
    actual = random.choice(3, n, p=(0.5, 0.3, 0.2))
    logits = random.normal(0.0, 1.0, (n, 3))
    logits[np.arange(n), actual] += 1.2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = np.array(["a", "b", "c"])
    return names[shares.argmax(1)].tolist(), names[actual].tolist(), {"probabilities": shares.tolist()}


def _multilabel(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """Four classes, each in a record or not, and four out of five times said so."""
    actual = random.random((n, 4)) < (0.5, 0.4, 0.3, 0.2)
    said = actual ^ (random.random((n, 4)) < 0.2)
    names = np.array(["a", "b", "c", "d"])
    return [names[row].tolist() for row in said], [names[row].tolist() for row in actual], {}


def _regression(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """Durations around an hour, with errors that grow with the value and lean to one side."""
    said = random.gamma(8.0, 8.0, n) + 5
    return said, said * np.exp(random.normal(0.02, 0.25, n)), {}


def _ranking(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """n queries of twelve items, graded 0 to 3; the scores tell something of the grade."""
    grade = random.choice(4, (n, 12), p=(0.6, 0.2, 0.15, 0.05))
    grade[np.arange(n), random.integers(0, 12, n)] = 3
    score = grade + random.normal(0, 3.0, (n, 12))
    return score.ravel(), grade.ravel().astype(float), {"query": np.repeat([f"q{i:07d}" for i in range(n)], 12)}


def _decision(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """People override one recommendation in four; what is followed turns out better."""
    said, other = random.integers(0, 2, n), random.random(n) < 0.25
    done = said ^ other
    outcome = random.normal(np.where(other, 1.0, 1.3), 1.0)
    names = np.array(["approve", "reject"])
    return names[said].tolist(), names[done].tolist(), {"outcome": outcome}


def _pairs(random: np.random.Generator, n: int) -> tuple[Any, Any, dict[str, Any]]:
    """Two versions on the same records, of which the second is right a little more often."""
    label = random.random(n) < 0.4
    hard = random.random(n)
    sides = [np.where(hard + random.normal(0, 0.2, n) < share, label, ~label) for share in (0.75, 0.8)]
    return sides[0].astype(float), label.astype(np.int64), {"other": sides[1].astype(float)}


KINDS: dict[str, tuple[Draw, dict[str, Any], tuple[str, ...]]] = {
    "binary": (_binary, {"values": {"true_positive": 5.0, "false_positive": -2.0}}, (
        "accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "matthews_corrcoef", "base_rate",
        "log_loss", "brier_score_loss", "roc_auc", "average_precision", "mean_value",
    )),
    "multiclass": (_multiclass, {"probabilities": "probabilities", "classes": ["a", "b", "c"]}, (
        "accuracy", "balanced_accuracy", "top_k_accuracy(2)", "precision", "recall", "f1",
        "precision(average=weighted)",
        "recall(average=weighted)", "f1(average=weighted)", "f1(average=micro)", "cohen_kappa", "matthews_corrcoef",
        "log_loss",
    )),
    "multilabel": (_multilabel, {}, (
        "accuracy", "jaccard", "precision", "recall", "f1", "f1(average=micro)", "f1(average=samples)", "hamming_loss",
    )),
    "regression": (_regression, {}, (
        "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "mean_absolute_percentage_error",
        "symmetric_mean_absolute_percentage_error", "bias", "r2", "median_absolute_error", "mean_pinball_loss(0.9)",
        "residual_quantile(0.9)",
    )),
    "ranking": (_ranking, {"query": "query", "cutoffs": [5]}, (
        "ndcg(5)", "mean_average_precision(5)", "mean_reciprocal_rank", "precision_at_k(5)", "recall_at_k(5)",
        "hit_rate(5)",
    )),
    "decision": (_decision, {"outcome": "outcomes.good"}, (
        "override_rate", "agreement", "cohen_kappa", "followed_outcome", "overridden_outcome", "outcome_difference",
    )),
}  # fmt: skip


def simulate(kind: str, draws: int, sizes: tuple[int, ...] = SIZES, seed: int = 1) -> dict[str, dict[int, float]]:
    """Of each metric and number of records, how often the interval held the true value."""
    draw, more, names = KINDS[kind]
    task = config.make_task("t", prediction="p.score", label="l.label", kind=kind, **more)
    random = np.random.default_rng(seed)
    truth = _truth(task, draw, random, TRUTH // (10 if kind == "ranking" else 1), names)
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    for n in sizes:
        held = {name: [] for name in names}  # type: dict[str, list[bool]]
        for _ in range(draws):
            for name, value in _values(task, draw(random, n), names).items():
                if value.low is not None and value.high is not None:
                    held[name].append(value.low <= truth[name] <= value.high)
        for name in names:
            found[name][n] = float(np.mean(held[name])) if held[name] else math.nan
    return found


def _values(task: Task, drawn: tuple[Any, Any, dict[str, Any]], names: tuple[str, ...]) -> dict[str, Value]:
    said, label, more = drawn
    counts = fold_joined(task, said, label, **more)
    found = {}
    for name in names:
        question = parse(name, "task", task.kind)
        of_task = [task] if question.metric.of_task else []
        found[name] = question.metric.function(counts[question.series], *of_task, **question.parameters)
    return found


EXACT: dict[str, Callable[[Any, Any], float]] = {  # whose values are read off bins: the truth is not
    "median_absolute_error": lambda said, label: float(np.median(np.abs(label - said))),
    "residual_quantile(0.9)": lambda said, label: float(np.quantile(label - said, 0.9)),
}


def _truth(task: Task, draw: Draw, random: np.random.Generator, n: int, names: tuple[str, ...]) -> dict[str, float]:
    parts = []
    for _ in range(PARTS):
        drawn = draw(random, n)
        found = {name: value.value or 0.0 for name, value in _values(task, drawn, names).items()}
        parts.append(found | {name: EXACT[name](drawn[0], drawn[1]) for name in names if name in EXACT})
    return {name: float(np.mean([part[name] for part in parts])) for name in names}


def _means(parts: list[dict[str, Value]]) -> dict[str, float]:
    return {name: float(np.mean([part[name].value for part in parts])) for name in parts[0]}


def simulate_pairs(draws: int, sizes: tuple[int, ...] = SIZES, seed: int = 1) -> dict[str, dict[int, float]]:
    """The same of the difference of two versions."""
    from fourfold.binning import Ints
    from fourfold.counts import Counts

    def paired(random: np.random.Generator, n: int) -> Counts:
        first, label, more = _pairs(random, n)
        code = label * 4 + first.astype(np.int64) * 2 + more["other"].astype(np.int64)
        cells: npt.NDArray[np.int64] = np.bincount(code, minlength=8)
        labels = [f'["{c >> 2}", "[\\"{c >> 1 & 1}\\", \\"{c & 1}\\"]"]' for c in range(8)]
        none: Ints = np.zeros(0, np.int64)
        return Counts("paired", [n], [], math.nan, math.nan, none, labels, cells, none)

    names = ("accuracy", "recall", "precision", "f1")
    random = np.random.default_rng(seed)
    truth = _means([{name: difference(paired(random, TRUTH), name) for name in names} for _ in range(PARTS)])
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    for n in sizes:
        for name in names:
            values = [difference(paired(random, n), name) for _ in range(draws)]
            held = [v.low <= truth[name] <= v.high for v in values if v.low is not None and v.high is not None]
            found[name][n] = float(np.mean(held))
    return found


def main() -> None:
    """Simulate and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4_000)
    parser.add_argument("--kind", choices=[*KINDS, "pairs"])
    parser.add_argument("--write", action="store_true", help="write docs/intervals.md")
    arguments = parser.parse_args()
    rows = []
    for kind in [arguments.kind] if arguments.kind else [*KINDS, "pairs"]:
        found = simulate_pairs(arguments.draws) if kind == "pairs" else simulate(kind, arguments.draws)
        for name, by_size in found.items():
            mark = "" if all(0.93 <= share <= 0.97 for share in by_size.values()) else " ✗"
            rows.append(f"| {kind} | `{name}` | {' | '.join(f'{s:.1%}' for s in by_size.values())} |{mark}")
            print(rows[-1], flush=True)
    if arguments.write:
        page = Path(__file__).parent.parent / "docs" / "intervals.md"
        head, _, _ = page.read_text(encoding="utf-8").partition("| kind |")
        table = [
            "| kind | metric | " + " | ".join(f"n = {n:,}" for n in SIZES) + " |",
            "|---|---|" + "---|" * len(SIZES),
        ]
        page.write_text(head + "\n".join([*table, *(row.removesuffix(" ✗") for row in rows)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
