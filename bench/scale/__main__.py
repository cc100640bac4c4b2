"""``python -m bench.scale``: what a store carries, for docs/scale.md; rewrites its sections of RESULTS.md."""

from __future__ import annotations

from bench.measure import RESULTS, Report
from bench.scale.bill import bill
from bench.scale.costs import measured
from bench.scale.year import Load, Setup, Year, year

LOADS = (1e5, 1e6, 1e7, 1e8, 1e9)  # predictions a day
WIDTHS = (20, 300)
FOLDER = Setup("one folder", every=600)
ONE = Setup("PostgreSQL and a bucket, one process that folds", is_bounded=False, every=600)
CLUSTER = Setup("and Spark on 8 cores", cores=8, efficiency=0.7, joins=0.3, is_bounded=False, every=3_600)
LARGE = Load(1e9, 300)
NARROW = Load(1e9, 5)


def main() -> None:
    """Measure, simulate, and write it down."""
    report = Report()
    costs = measured()
    report.table("Scale: what a record costs", ["", "each", "and for each column"], costs.rows())
    rows = [
        _row(setup, load, year(load, setup, costs))
        for setup in (FOLDER, ONE, CLUSTER)
        for columns in WIDTHS
        for load in (Load(predictions, columns) for predictions in LOADS)
    ]
    head = [
        "",
        "predictions a day",
        "columns",
        "cores busy",
        "a day, and most of it",
        "lag",
        "log",
        "state",
        "gives out",
    ]
    report.table(
        "Scale: a year, simulated",
        head,
        rows,
        "Each prediction gets its label 30 days later; the log keeps 60 days; one dimension of 16 values. Fold by "
        "fold, with a peak of 1.6 times the mean. Lag: from a record to its counts, at most, at the end of the year. A "
        "folder has 2 TB. A core of Spark does 0.7 of what DuckDB does, and 0.3 where it joins (docs/spark.md).",
    )
    for load in (LARGE, NARROW):
        report.table(
            f"Scale: a day's bill of {load.predictions:,.0f} predictions with {load.columns} columns",
            ["", "arithmetic", "a day", "dollars a day"],
            [item.row() for item in bill(load, CLUSTER, costs)],
        )
    report.update(RESULTS)


def _row(setup: Setup, load: Load, found: Year) -> list[str]:
    heaviest = max(found.parts, key=lambda part: found.parts[part])
    return [
        setup.name, f"{load.predictions:,.0f}", str(load.columns), f"{found.cores * setup.cores:.2f}",
        f"{sum(found.parts.values()) / 3600:,.2f} h: {heaviest}", f"{found.lag / 60:,.0f} min",
        f"{found.log / 1e9:,.1f} GB in {found.files:,.0f} files", f"{found.state / 1e9:,.2f} GB",
        found.gives_out(setup),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
