"""Declaring objectives, and asking how they stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fourfold import config
from fourfold.sdk.session import session

if TYPE_CHECKING:
    from fourfold.query.table import Table
    from fourfold.watch.objectives import ObjectiveView


def objective(
    name: str,
    target: str,
    *,
    window: str = "30d",
    by: str | Sequence[str] = (),
    goal: float | str | None = None,
    owner: str = "",
    runbook: str = "",
    estimates: bool = False,
    description: str = "",
) -> None:
    """Declare an objective (SLO): a target for a metric over a window, before or after there is any data.

    ``ff.objective("late-recall", "recall(late) >= 0.9", window="30d", by=["carrier"])``

    Args:
        name: the objective's name; declared again, it takes the place of the earlier one.
        target: "metric(target) op number", where op is >=, >, <= or <: "recall(late, threshold=0.3) >= 90 %",
            "missing_rate(predict.age) <= 0.05", "rows(predict) >= 1000". Of a component: "success_rate(train) >= 0.99",
            "duration(train, q=0.95) <= '1h'". Of a stream: "freshness(predict) <= '2h'". A target with a comma in its
            name stands in quotes.
        window: rolling, such as "30d" or "12h"; or of the calendar (in UTC): "day", "week", "month", "quarter", "year".
        by: slices, as in ``ff.metric``; each has an error budget of its own.
        goal: the share of the time slices (days, or hours in short windows) that must meet the target. Default: a rate
            is judged by its events, another metric by 90 % of the time slices.
        owner: who looks after it.
        runbook: where it says what to do, such as a link.
        estimates: whether an estimate alone, while labels are still to come, may wake someone up.
        description: what it is for.

    Raises:
        ConfigError: the message names the field, its value and what is expected.
    """
    declared = config.make_objective(
        name, target, window=window, by=by, goal=goal, owner=owner, runbook=runbook, estimates=estimates,
        description=description,
    )  # fmt: skip
    session().aim(declared)


def objectives(names: str | Sequence[str] | None = None) -> Table[ObjectiveView]:
    """How each objective stands, slice by slice: its value, error budget and burn rates.

    Args:
        names: only these objectives. Default: all.

    Raises:
        StoreError: there is no store; a question creates none.
        UnknownNameError: no objective has this name; the message lists the known ones.
    """
    from fourfold.sdk.questions import store_to_ask
    from fourfold.watch.objectives import report

    wanted = [names] if isinstance(names, str) else names
    return report(store_to_ask().caught_up(), time.time(), wanted)
