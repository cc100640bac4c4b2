"""Questions: each brings what this process has logged into the store, and asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fourfold.engine import Discrepancy
from fourfold.metrics.skew import ColumnSkew
from fourfold.projects import folder_to_ask, project_to_ask
from fourfold.query.metric import metric as read_metric
from fourfold.query.result import Moment, Result
from fourfold.reports.compare import Comparison
from fourfold.reports.compare import compare as compare_slices
from fourfold.reports.skew import discrepancies as find_discrepancies
from fourfold.reports.skew import skew as find_skew
from fourfold.reports.trace import Trace
from fourfold.reports.trace import trace as find_trace
from fourfold.sdk.batch import key_text
from fourfold.sdk.session import session
from fourfold.store import Store


def metric(
    target: str,
    metric: str,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    by: str | Sequence[str] | None = None,
    every: str | None = None,
    against: str | tuple[Moment, Moment] | None = None,
    as_of: Moment | None = None,
    estimate: bool | str = False,
    versions: tuple[str, str] | None = None,
    patience: float | None = None,
) -> Result:
    """A metric of a task ("late"), a stream ("predict") or a column ("predict.score"), by window and slice.

    See ``fourfold.store.metric`` for the arguments and the errors; what was logged in this process is included.
    """
    return read_metric(
        store_to_ask(), target, metric, start=start, end=end, by=by, every=every, against=against, as_of=as_of,
        estimate=estimate, versions=versions, patience=patience,
    )  # fmt: skip


def trace(key: Any) -> Trace:
    """The way of one record through the components: features, prediction, decision, label, each with its run.

    ``key`` is what was given to ``ff.log``: a text, a number, or a tuple for a key of several parts. See
    ``fourfold.reports.trace`` for what a step holds, and the errors.
    """
    return find_trace(store_to_ask(), key_text(key) or "")


def compare(
    a: Mapping[str, str | None], b: Mapping[str, str | None], window: tuple[Moment, Moment] | None = None
) -> Comparison:
    """Two groups of records side by side at every component, ranked by how much they differ.

    ``ff.compare({"carrier": "AA"}, {"carrier": "UA"}, ("2013-06-01", "2013-07-01"))``; see ``reports.compare``.
    """
    return compare_slices(store_to_ask(), a, b, window)


def skew(reference: str, current: str, *, start: Moment | None = None, end: Moment | None = None) -> list[ColumnSkew]:
    """What differs between two streams that should be alike, such as "train.features" and "predict", in words.

    See ``fourfold.reports.skew`` for the arguments and the errors.
    """
    return find_skew(store_to_ask(), reference, current, start=start, end=end)


def discrepancies(
    here: str,
    there: str,
    *,
    columns: Sequence[str] | None = None,
    relative: float = 1e-6,
    absolute: float = 0.0,
    examples: int = 5,
) -> list[Discrepancy]:
    """The same keys in two streams, such as features computed online and offline, compared value by value.

    See ``fourfold.store.discrepancies`` for the arguments and the errors.
    """
    return find_discrepancies(
        store_to_ask(), here, there, columns=columns, relative=relative, absolute=absolute, examples=examples
    )


def store_to_ask() -> Store:
    """The store, with all that this process has logged, for the project that is meant.

    Raises:
        StoreError: there is no store; none is made by asking.
        UnknownNameError: the project is not there, or there are several and none was chosen.
    """
    now = session()
    now.flush()
    folder_to_ask(now.settings)
    return now.store_of(project_to_ask(now.store, now.settings, has_logged=now.has_sent))
