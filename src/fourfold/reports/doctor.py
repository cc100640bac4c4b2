"""The full examination of a store, which works on damaged stores too."""

from __future__ import annotations

from collections.abc import Callable

from fourfold.errors import FourfoldError, StoreError
from fourfold.log import BucketError, StorePath, store_folder
from fourfold.model import Address, Place
from fourfold.reports import integrity
from fourfold.reports.problem import Problem
from fourfold.reports.problems import problems
from fourfold.reports.recount import differences
from fourfold.store import Store

_ADVICE = "run fourfold doctor --mend; it repairs what it can, and deletes nothing"


def examine(
    place: Address,
    project: str,
    *,
    deep: bool = False,
    report: Callable[[float], None] = lambda share: None,
) -> list[Problem]:
    """All problems of a store; ``deep`` counts its logs again and compares.

    ``report`` receives the share of this that is done.
    """
    place = Place.of(place)
    folder = store_folder(place.store)
    found = integrity.of_folder(folder)
    try:
        store = Store(place, project)
    except StoreError as error:
        return [*found, _unusable(folder, error)]
    try:
        found += integrity.of_state(store.reader)
        try:
            before = list(integrity.of_store(store.reader))  # what waits, and what another count may cover up
            now = problems(store.caught_up())
            found += [*now, *(problem for problem in before if problem not in now)]
            found += _differing(store, report) if deep else []
        except FourfoldError as error:
            if not found:
                found.append(_unusable(folder, error))
    finally:
        store.close()
    return found


def _unusable(folder: StorePath, error: FourfoldError) -> Problem:
    advice = "nothing is known of the store until then" if isinstance(error, BucketError) else _ADVICE
    return Problem("unusable_store", str(folder), str(error), advice)


def _differing(store: Store, report: Callable[[float], None]) -> list[Problem]:
    return [
        Problem("differing_counts", str(found.owner), found.text,
                "fourfold doctor --deep --mend counts it again from the log")
        for found in differences(store.reader, report)
    ]  # fmt: skip
