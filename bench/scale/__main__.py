"""``python -m bench.scale``: what a store carries, for docs/scale.md; rewrites its sections of RESULTS.md."""

from __future__ import annotations

from bench.measure import RESULTS, Report
from bench.scale.costs import measured
from bench.scale.year import Load, Setup, Year, year

LOADS = (1e5, 1e6, 1e7, 1e8, 1e9)  # predictions a day
WIDTHS = (20, 300)
SETUPS = (
    Setup("one folder", every=60),
    Setup("PostgreSQL and a bucket, one folding machine", is_bounded=False, every=60),
)


def main() -> None:
    """Measure, simulate, and write it down."""
    report = Report()
    costs = measured()
    report.table("Scale: what a record costs", ["", "each", "and for each column"], costs.rows())
    rows = []
    for setup in SETUPS:
        for columns in WIDTHS:
            for predictions in LOADS:
                load = Load(predictions, columns)
                rows.append(_row(setup, load, year(load, setup, costs)))
    head = ["", "predictions a day", "columns", "cores", "a day", "lag", "log", "state", "question", "gives out"]
    report.table("Scale: a year, simulated", head, rows)
    report.update(RESULTS)


def _row(setup: Setup, load: Load, found: Year) -> list[str]:
    heavy = sorted(found.parts, key=lambda part: -found.parts[part])
    return [
        setup.name, f"{load.predictions:,.0f}", str(load.columns), f"{found.cores * setup.cores:.2f}",
        f"{sum(found.parts.values()) / 3600:,.2f} h: {heavy[0]}", f"{found.lag / 60:,.0f} min",
        f"{found.log / 1e9:,.1f} GB in {found.files:,.0f} files", f"{found.state / 1e9:,.2f} GB",
        f"{found.question * 1e3:,.0f} ms", found.gives_out(setup),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
