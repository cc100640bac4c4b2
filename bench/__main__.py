"""``make bench``: run all benchmarks and write bench/RESULTS.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import durability, estimates, joins, kernel, mext, questions, record
from bench.measure import Report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-peers", action="store_true", help="leave out what needs environments of its own")
    arguments = parser.parse_args()
    report = Report()
    kernel.run(report, peers=not arguments.without_peers)
    joins.run(report)
    estimates.run(report)
    mext.run(report)
    record.run(report)
    durability.run(report)
    questions.run(report)
    report.write(Path(__file__).parent / "RESULTS.md")


main()
