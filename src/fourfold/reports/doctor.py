"""The whole examination of a store, which survives whatever is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fourfold.errors import FourfoldError, StoreError
from fourfold.reports import integrity
from fourfold.reports.problem import Problem
from fourfold.reports.problems import problems
from fourfold.reports.recount import differences
from fourfold.store import Store

_ADVICE = "fourfold doctor --mend does what can be done, and deletes nothing"


def examine(
    folder: Path, project: str, *, deep: bool = False, report: Callable[[float], None] = lambda share: None
) -> list[Problem]:  # fmt: skip
    """All that is not as it should be in a store; ``deep`` counts its logs again and compares.

    ``report`` is told what share of that is done.
    """
    found = integrity.of_folder(folder)
    try:
        store = Store(folder, project)
    except StoreError as error:
        return [*found, Problem("unusable_store", str(folder), str(error), _ADVICE)]
    try:
        found += integrity.of_state(store.reader)
        try:
            before = list(integrity.of_store(store.reader))  # what waits, and what counting anew may cover up
            now = problems(store.caught_up())
            found += [*now, *(problem for problem in before if problem not in now)]
            found += _differing(store, report) if deep else []
        except FourfoldError as error:
            if not found:
                found.append(Problem("unusable_store", str(folder), str(error), _ADVICE))
    finally:
        store.close()
    return found


def _differing(store: Store, report: Callable[[float], None]) -> list[Problem]:
    return [
        Problem("differing_counts", str(found.owner), found.text,
                "fourfold doctor --deep --mend counts it anew from the log")
        for found in differences(store.reader, report)
    ]  # fmt: skip
