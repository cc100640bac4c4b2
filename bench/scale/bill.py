"""What a load costs a day, worked out of measured costs, with the arithmetic shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bench.objects import PER_GIGABYTE_AND_MONTH, PER_THOUSAND
from bench.scale.costs import Costs
from bench.scale.year import Load, Setup, year

CORE_HOUR = 0.05  # dollars: what a core of a cloud's machines is let for, an assumption
MESSAGE_BYTES = 4e6  # to which a busy process gathers what it sends to a bucket
MESSAGE_REQUESTS = {"PUT": 2, "GET": 1, "HEAD": 2}  # put by the sender; read, removed (with a put of Arrow's) later


@dataclasses.dataclass(frozen=True)
class Item:
    """A line of the bill: what, how it is worked out, the quantity a day, and dollars a day."""

    what: str
    arithmetic: str
    quantity: str
    dollars: float

    def row(self) -> list[str]:
        """The line in the table."""
        return [self.what, self.arithmetic, self.quantity, f"{self.dollars:,.2f}"]


def bill(load: Load, setup: Setup, costs: Costs) -> Iterator[Item]:
    """The lines of a day at the end of a year."""
    n, columns = load.predictions, load.columns
    found = year(load, setup, costs)
    inbox = costs.inbox.at(columns) + costs.inbox.at(1)
    yield Item(
        "sent to the inbox",
        f"{n:.0e} × ({costs.inbox.at(columns):,.0f} B + {costs.inbox.at(1):,.0f} B of its label)",
        f"{n * inbox / 1e12:,.2f} TB",
        0.0,
    )
    sent = n * inbox / MESSAGE_BYTES
    of_one = sum(PER_THOUSAND[kind] * number / 1_000 for kind, number in MESSAGE_REQUESTS.items())
    requests = " + ".join(f"{number} {kind}" for kind, number in MESSAGE_REQUESTS.items())
    yield Item(
        "requests for messages",
        f"of {MESSAGE_BYTES / 1e6:.0f} MB each, {requests}",
        f"{sent:,.0f} messages",
        sent * of_one,
    )
    yield Item(
        "kept in the log",
        f"{n:.0e} × {costs.log.at(columns) + costs.log.at(0):,.0f} B × {load.retention} days",
        f"{found.log / 1e12:,.1f} TB",
        found.log / 1e9 * PER_GIGABYTE_AND_MONTH / 30,
    )
    for part, seconds in found.parts.items():
        yield Item(part, "", f"{seconds / 3600:,.1f} core-hours", seconds / 3600 * CORE_HOUR)
    slices = load.dimensions * load.slices
    yield Item(
        "kept in the state",
        f"{columns} columns × (1 + {slices} slices) × (60 days of hours + 365 days)",
        f"{found.state / 1e9:,.1f} GB",
        found.state / 1e9 * 0.1 / 30,  # a database's disk: 0.10 dollars a GB and month
    )
    yield Item("a metric by day, of a year", "", f"{found.question * 1e3:,.0f} ms each", 0.0)
