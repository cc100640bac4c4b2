"""``make bench``: run all benchmarks and write bench/RESULTS.md."""

from __future__ import annotations

import argparse

from bench import durability, estimates, joins, kernel, mext, record, small
from bench.measure import RESULTS, Report


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
    small.run(report)
    report.write(RESULTS)


if __name__ == "__main__":
    main()
