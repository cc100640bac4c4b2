"""How often the stated 95 % intervals hold the true value, by simulation: writes docs/intervals.md."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from tests.support import fold_joined

import fourfold as ff
from fourfold import config, counts
from fourfold.counts import Counts
from fourfold.fold import Plan, fold
from fourfold.fold.numeric import choose_binning
from fourfold.metrics import METRICS, estimate, parse
from fourfold.metrics.paired import difference
from fourfold.model import Value

SIZES = (50, 500, 5_000)
TRUTH = 160_000  # records of one of the parts from whose mean the true value is read
PARTS = 10
Random = np.random.Generator
Records = tuple[Any, Any, dict[str, Any]]  # predictions, labels, further columns
Ask = Callable[[str], Value]


class Population(NamedTuple):
    """Where records are drawn from, how they are counted, and the metrics that are then asked for.

    ``exact`` holds metrics that are read off bins, whose truth is not. A population that is slow to count is drawn from
    less often: ``effort`` is the share of draws. The truth is the population's; of estimates it is what ``came`` true.
    """

    draw: Callable[[Random, int], Any]
    counted: Callable[[Any], Ask]
    metrics: tuple[str, ...]
    exact: Mapping[str, Callable[[Any], float]] = {}
    effort: float = 1.0
    came: Callable[[Any], Ask] | None = None


def _binary(random: Random, n: int) -> Records:
    """Scores that are slightly too sure of themselves; 40 % of the labels are positive."""
    logit = random.normal(-0.5, 1.5, n)
    label = random.random(n) < 1 / (1 + np.exp(-logit))
    return 1 / (1 + np.exp(-1.3 * logit)), label.astype(np.int64), {}


def _multiclass(random: Random, n: int) -> Records:
    """Three classes, 50, 30 and 20 %, with probabilities."""
    actual = random.choice(3, n, p=(0.5, 0.3, 0.2))
    logits = random.normal(0.0, 1.0, (n, 3))
    logits[np.arange(n), actual] += 1.2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = np.array(["a", "b", "c"])
    return names[shares.argmax(1)].tolist(), names[actual].tolist(), {"probabilities": shares.tolist()}


def _multilabel(random: Random, n: int) -> Records:
    """Four classes, each in a record or not, and four out of five times said so."""
    actual = random.random((n, 4)) < (0.5, 0.4, 0.3, 0.2)
    said = actual ^ (random.random((n, 4)) < 0.2)
    names = np.array(["a", "b", "c", "d"])
    return [names[row].tolist() for row in said], [names[row].tolist() for row in actual], {}


def _regression(random: Random, n: int) -> Records:
    """Durations around an hour, with errors that grow with the value and lean to one side."""
    said = random.gamma(8.0, 8.0, n) + 5
    return said, said * np.exp(random.normal(0.02, 0.25, n)), {}


def _ranking(random: Random, n: int) -> Records:
    """n queries of twelve items, graded 0 to 3; the scores tell something of the grade."""
    grade = random.choice(4, (n, 12), p=(0.6, 0.2, 0.15, 0.05))
    grade[np.arange(n), random.integers(0, 12, n)] = 3
    score = grade + random.normal(0, 3.0, (n, 12))
    return score.ravel(), grade.ravel().astype(float), {"query": np.repeat([f"q{i:07d}" for i in range(n)], 12)}


def _decision(random: Random, n: int) -> Records:
    """People override one recommendation in four; what is followed turns out better."""
    said, other = random.integers(0, 2, n), random.random(n) < 0.25
    done = said ^ other
    outcome = random.normal(np.where(other, 1.0, 1.3), 1.0)
    names = np.array(["approve", "reject"])
    return names[said].tolist(), names[done].tolist(), {"outcome": outcome}


def _pairs(random: Random, n: int) -> Records:
    """Two versions on the same records, of which the second is right a little more often."""
    label = random.random(n) < 0.4
    hard = random.random(n)
    sides = [np.where(hard + random.normal(0, 0.2, n) < share, label, ~label) for share in (0.75, 0.8)]
    return sides[0].astype(float), label.astype(np.int64), {"other": sides[1].astype(float)}


def _several(random: Random, n: int) -> Records:
    """Two versions' predictions of three classes, of which the second is right a little more often."""
    actual = random.choice(3, n, p=(0.5, 0.3, 0.2))
    hard, wrong = random.random(n), (actual + 1) % 3
    said = [np.where(hard + random.normal(0, 0.2, n) < share, actual, wrong) for share in (0.7, 0.75)]
    return said[0], actual, {"other": said[1]}


def _durations(random: Random, n: int) -> Records:
    """Two versions' predictions of durations, of which the second's errors are a little smaller."""
    said = random.gamma(8.0, 8.0, n) + 5
    noise = random.normal(0.0, 0.25, n)
    return said * np.exp(noise), said, {"other": said * np.exp(0.9 * noise + random.normal(0, 0.05, n))}


def _late(random: Random, n: int) -> Records:
    """Seven labels in ten have come, after a day or so; one label in ten is of a key that was never predicted."""
    orphan, there = random.random(n) < 0.1, random.random(n) < 0.7
    label = np.where(there | orphan, random.integers(0, 2, n).astype(float), np.nan)
    more = {"orphan": orphan, "pairs": (there & ~orphan).astype(int), "delay": random.gamma(2.0, 40_000.0, n)}
    return random.random(n), label, more


def _unlabelled(random: Random, n: int) -> Records:
    """n records without a label, and 5,000 settled ones before them."""
    score, label, _ = _binary(random, n + SETTLED)
    return score, label.astype(float), {}


def _hidden_came(drawn: Records) -> Ask:
    score, label, _ = drawn
    return _asking(fold_joined(BINARY, score[SETTLED:], label[SETTLED:])[""])


def _shifted(shift: float) -> Callable[[Random, int], Records]:
    """n records without a label whose log odds have shifted, and 5,000 settled ones before them."""

    def draw(random: Random, n: int) -> Records:
        logit = random.normal(-0.5, 1.5, n + SETTLED) - 1.5
        logit[SETTLED:] += shift
        label = random.random(n + SETTLED) < 1 / (1 + np.exp(-logit))
        return 1 / (1 + np.exp(-1.3 * logit)), label.astype(float), {}

    return draw


def _partly(random: Random, n: int) -> Records:
    """One label in five has come where the score is low, four in five where it is high."""
    score, label, _ = _binary(random, n)
    return score, label.astype(float), {"there": random.random(n) < np.where(score > 0.4, 0.8, 0.2)}


def _column(random: Random, n: int) -> pa.Table:
    """Amounts with a long tail, of which one in five is null and one in four of the others zero."""
    amount = np.where(random.random(n) < 0.25, 0.0, random.gamma(2.0, 50.0, n))
    return pa.table({"x": pa.array(amount, mask=random.random(n) < 0.2)})


def _count_task(kind: str, **more: Any) -> Callable[[Records], Ask]:
    task = config.make_task("t", prediction="p.score", label="l.label", kind=kind, **more)

    def count(drawn: Records) -> Ask:
        said, label, columns = drawn
        found = fold_joined(task, said, label, **columns)

        def ask(name: str) -> Value:
            question = parse(name, "task", kind)
            value = question.of(found[question.series], task=task)
            if isinstance(value, Value):
                return value
            bin_: Value = dict(value).get(("0.2–0.3",), Value.no_data("no record in it"))  # of a calibration curve
            return bin_

        return ask

    return count


def _asking(found: Counts, target: str = "task", kind: str | None = "binary") -> Ask:
    def ask(name: str) -> Value:
        question = parse(name, target, kind)
        value: Value = question.of(found)
        return value

    return ask


def _estimating(guess: estimate.Estimated) -> Ask:
    return lambda name: estimate.value(guess, lambda counts: _asking(counts)(name))


def _count_column(table: pa.Table) -> Ask:
    plan = Plan().adding({"x": choose_binning(table["x"].drop_null().to_numpy())})
    (found,) = counts.rows(fold(table, plan=plan), plan.by_version())
    return _asking(found, "column", None)


def _count_pairs(drawn: Records) -> Ask:
    """As ``fold_pairs`` counts them: by what is actual and what both versions said."""
    first, label, more = drawn
    cells, numbers = np.unique(np.stack((label, first, more["other"])).astype(np.int64), axis=1, return_counts=True)
    labels = [f'["{actual}", "[\\"{a}\\", \\"{b}\\"]"]' for actual, a, b in cells.T]
    none = np.zeros(0, np.int64)
    found = Counts("paired", [len(label)], [], math.nan, math.nan, none, labels, numbers, none)
    return lambda name: difference(found, METRICS[name][0])


def _count_errors(drawn: Records) -> Ask:
    first, label, more = drawn
    sides = [np.abs(side - label) for side in (first, more["other"])]
    sums = [float((by**2).sum() if squared else by.sum())
            for by in (sides[0] - sides[1], sides[0] ** 2 - sides[1] ** 2) for squared in (False, True)]  # fmt: skip
    none = np.zeros(0, np.int64)
    found = Counts("paired_errors", [len(label)], sums, math.nan, math.nan, none, [], none, none)
    return lambda name: difference(found, METRICS[name][0])


ff.metrics.register(
    "relative_error",
    sums={"error": "abs(actual - score)", "actual": "actual"},
    value=lambda sums: sums["error"] / sums["actual"],
)


def _count_custom(drawn: Records) -> Ask:
    """The sums, and the sums of their products, that the engine adds up."""
    said, label, _ = drawn
    error, n = np.abs(label - said), len(said)
    sums = [float(s.sum()) for s in (error, label, error * error, error * label, label * label)]
    none = np.zeros(0, np.int64)
    found = Counts("custom", [n, 0], sums, math.nan, math.nan, none, [], none, none)
    return _asking(found, kind="regression")


def _count_expected(drawn: Records) -> Ask:
    score, label, _ = drawn
    settled = fold_joined(BINARY, score[:SETTLED], label[:SETTLED])[""]
    window = fold_joined(BINARY, score[SETTLED:], np.full(len(score) - SETTLED, np.nan))[""]
    return _estimating(estimate.expected(window, settled, BINARY))


def _count_stratified(drawn: Records) -> Ask:
    score, label, more = drawn
    found = fold_joined(BINARY, score, np.where(more["there"], label, np.nan))[""]
    return _estimating(estimate.post_stratified({"{}": found}, BINARY))


def _of_residuals(of: Callable[[Any], Any]) -> Callable[[Records], float]:
    return lambda drawn: float(of(drawn[1] - drawn[0]))


def _of_values(of: Callable[[Any], Any]) -> Callable[[pa.Table], float]:
    return lambda table: float(of(table["x"].drop_null().to_numpy()))


BINARY = config.make_task("t", prediction="p.score", label="l.label")
SETTLED = 5_000
_ESTIMATED = ("accuracy", "recall", "precision", "f1", "roc_auc", "brier_score_loss")
ESTIMATES = {
    "nothing labelled": Population(
        _unlabelled, _count_expected, _ESTIMATED,
        came=_hidden_came, effort=0.08,
    ),
    "after a shift upwards": Population(
        _shifted(1.0), _count_expected, _ESTIMATED,
        came=_hidden_came, effort=0.08,
    ),
    "after a shift downwards": Population(
        _shifted(-1.0), _count_expected, _ESTIMATED,
        came=_hidden_came, effort=0.08,
    ),
    "partly labelled": Population(
        _partly, _count_stratified, _ESTIMATED, effort=0.08,
        came=lambda drawn: _asking(fold_joined(BINARY, drawn[0], drawn[1])[""]),
    ),
}  # fmt: skip
POPULATIONS: dict[str, Population] = {
    "binary": Population(
        _binary,
        _count_task("binary", values={"true_positive": 5.0, "false_positive": -2.0}),
        ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "matthews_corrcoef", "base_rate",
         "log_loss", "brier_score_loss", "roc_auc", "average_precision", "expected_calibration_error",
         "calibration_curve", "mean_value"),
    ),
    "multiclass": Population(
        _multiclass,
        _count_task("multiclass", probabilities="probabilities", classes=["a", "b", "c"],
                    values={"a": {"a": 1.0, "b": -2.0}, "b": {"b": 3.0}}),
        ("accuracy", "balanced_accuracy", "top_k_accuracy(2)", "precision", "recall", "f1",
         "precision(average=weighted)", "recall(average=weighted)", "f1(average=weighted)", "f1(average=micro)",
         "f1(label=b)", "cohen_kappa", "matthews_corrcoef", "log_loss", "mean_value"),
    ),
    "multilabel": Population(
        _multilabel,
        _count_task("multilabel"),
        ("accuracy", "jaccard", "precision", "recall", "f1", "f1(average=micro)", "f1(average=samples)",
         "hamming_loss"),
        effort=3 / 8,
    ),
    "regression": Population(
        _regression,
        _count_task("regression"),
        ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "mean_absolute_percentage_error",
         "symmetric_mean_absolute_percentage_error", "bias", "r2", "median_absolute_error", "mean_pinball_loss(0.9)",
         "residual_quantile(0.9)"),
        {"median_absolute_error": _of_residuals(lambda r: np.median(np.abs(r))),
         "residual_quantile(0.9)": _of_residuals(lambda r: np.quantile(r, 0.9))},
    ),
    "ranking": Population(
        _ranking,
        _count_task("ranking", query="query", cutoffs=[5]),
        ("ndcg(5)", "mean_average_precision(5)", "mean_reciprocal_rank", "precision_at_k(5)", "recall_at_k(5)",
         "hit_rate(5)"),
        effort=1 / 4,
    ),
    "decision": Population(
        _decision,
        _count_task("decision", outcome="outcomes.good"),
        ("override_rate", "agreement", "cohen_kappa", "followed_outcome", "overridden_outcome", "outcome_difference"),
    ),
    "any task": Population(
        _late,
        _count_task("binary"),
        ("coverage", "match_rate", "label_delay(0.5)"),
        {"label_delay(0.5)": lambda drawn: float(np.median(drawn[2]["delay"]))},
    ),
    "custom": Population(_regression, _count_custom, ("relative_error",)),
    "pairs": Population(
        _pairs, _count_pairs, ("accuracy", "recall", "precision", "specificity", "balanced_accuracy", "f1")
    ),
    "pairs, multiclass": Population(_several, _count_pairs, ("accuracy",)),
    "pairs, regression": Population(_durations, _count_errors, ("mean_absolute_error", "mean_squared_error")),
    "column": Population(
        _column,
        _count_column,
        ("null_rate", "zero_rate", "mean", "std", "quantile(0.5)", "quantile(0.9)"),
        {"quantile(0.5)": _of_values(np.median), "quantile(0.9)": _of_values(lambda x: np.quantile(x, 0.9))},
    ),
}  # fmt: skip


def simulate(
    population: Population, draws: int, sizes: tuple[int, ...] = SIZES, seed: int = 1
) -> dict[str, list[float]]:  # fmt: skip
    """Of each metric, for each number of records, how often its interval held the true value."""
    random = np.random.default_rng(seed)
    truth = _truth(population, random) if population.came is None else {}
    found: dict[str, list[float]] = {name: [] for name in population.metrics}
    for n in sizes:
        held: dict[str, list[bool]] = {name: [] for name in population.metrics}
        for _ in range(round(draws * population.effort)):
            drawn = population.draw(random, n)
            ask = population.counted(drawn)
            came = population.came(drawn) if population.came is not None else None
            for name in population.metrics:
                value, true = ask(name), truth[name] if came is None else came(name).value
                if value.low is not None and value.high is not None and true is not None:
                    held[name].append(value.low <= true <= value.high)
        for name, hits in held.items():
            found[name].append(float(np.mean(hits)) if hits else math.nan)
    return found


def _truth(population: Population, random: Random) -> dict[str, float]:
    """The metrics of very many records."""
    parts = []
    for _ in range(PARTS):
        drawn = population.draw(random, round(TRUTH * population.effort))
        ask = population.counted(drawn)
        parts.append({
            name: population.exact[name](drawn) if name in population.exact else ask(name).value or 0.0
            for name in population.metrics
        })  # fmt: skip
    return {name: float(np.mean([part[name] for part in parts])) for name in population.metrics}


def main() -> None:
    """Simulate and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4_000)
    parser.add_argument("--kind", choices=[*POPULATIONS, *ESTIMATES])
    parser.add_argument("--write", action="store_true", help="write docs/intervals.md")
    arguments = parser.parse_args()
    tables = []
    for populations in (POPULATIONS, ESTIMATES):
        rows = []
        for kind in [arguments.kind] if arguments.kind in populations else [] if arguments.kind else populations:
            for name, shares in simulate(populations[kind], arguments.draws).items():
                rows.append(f"| {kind} | `{name}` | {' | '.join(f'{s:.1%}' for s in shares)} |")
                outside = populations is POPULATIONS and not all(0.93 <= share <= 0.97 for share in shares)
                print(rows[-1], "✗" if outside else "", flush=True)
        head = "| kind | metric | " + " | ".join(f"n = {n:,}" for n in SIZES) + " |"
        tables.append("\n".join([head, "|---|---|" + "---|" * len(SIZES), *rows]))
    if arguments.write:
        page = Path(__file__).parent.parent / "docs" / "intervals.md"
        start, *middle = re.split(r"\| kind \|(?:.*\n)+?(?=\n|\Z)", page.read_text(encoding="utf-8"))
        page.write_text("".join([start, *(f"{table}\n{text}" for table, text in zip(tables, middle, strict=True))]))


if __name__ == "__main__":
    main()
