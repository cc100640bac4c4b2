"""Questions: each first sends what this process has logged, and then asks the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fourfold.config import is_text
from fourfold.errors import InputError, suggest
from fourfold.log import store_folder
from fourfold.reports.compare import Comparison
from fourfold.reports.compare import compare as compare_slices
from fourfold.reports.components import recent_runs
from fourfold.reports.problems import problems as find_problems
from fourfold.reports.skew import discrepancies as find_discrepancies
from fourfold.reports.skew import skew as find_skew
from fourfold.reports.status import StatusReport
from fourfold.reports.status import status as read_status
from fourfold.reports.streams import streams as list_streams
from fourfold.reports.trace import Trace
from fourfold.reports.trace import trace as find_trace
from fourfold.sdk.batch import key_text
from fourfold.sdk.session import session
from fourfold.state.runs import components as components_of
from fourfold.store import Store, place_to_ask, project_to_ask

if TYPE_CHECKING:
    from fourfold.engine import Discrepancy
    from fourfold.metrics.skew import ColumnSkew
    from fourfold.model import Run
    from fourfold.query.reader import Reader
    from fourfold.query.result import Moment, Result
    from fourfold.query.table import Table
    from fourfold.reports.problem import Problem
    from fourfold.reports.streams import StreamView


def metric(
    target: str,
    metric: str | Sequence[str],
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    by: str | Sequence[str] | None = None,
    every: str | None = None,
    against: str | tuple[Moment, Moment] | None = None,
    as_of: Moment | None = None,
    estimate: bool = False,
    estimate_error: bool = False,
    versions: tuple[str, str] | None = None,
    patience: float | None = None,
) -> Result:
    """A metric of a task, a stream or a column, by window and slice.

    ``ff.metric("late", ["recall", "precision"], by="carrier", every="1d").to_pandas()``

    Args:
        target: a task ("late"), a stream ("predict") or a column ("predict.score").
        metric: a metric with its parameters ("recall", "quantile(0.9)"), or several; docs/metrics.md lists them.
        start: the start, inclusive; without a time zone it is UTC. "-7d" is so long before the end. Default: the first
            record.
        end: the end, exclusive; "-7d" is so long before the end of the data: of its newest day, or, where hours are
            asked for, of its newest hour. Default: after the last record.
        by: the slice to split by, as declared by a task on the stream; for a crossed one, all its columns.
        every: the length of a window: "1h", "1d", "7d". Default: one window.
        against: for a distance, the reference: another column, or a (start, end) of this one. Default: everything
            before the window.
        as_of: answer with the records that were logged by this moment.
        estimate: for a task, estimate the missing labels.
        estimate_error: the error of such an estimate, made before any label came, against the final value.
        versions: two model versions: the first's metric − the second's, on the keys that both predicted.
        patience: seconds after which to answer from the records counted so far, *provisional*. Default: wait until
            all logged records are counted.

    Returns:
        A ``Result``: a row per metric, window and slice, each with a ``Value``.

    Raises:
        StoreError: there is no store; a question creates none.
        UnknownNameError: no such target, metric or slice; the message lists the known ones.
        InputError: an argument is invalid or does not apply.
        ConfigError: the task cannot be counted, because its declaration is wrong.
    """
    for field, value in (("target", target), ("every", every or ""), *(("by", name) for name in _listed(by))):
        _text(field, value)
    return store_to_ask().metric(
        target,
        metric,
        start=start,
        end=end,
        by=by,
        every=every,
        against=against,
        as_of=as_of,
        estimate=estimate,
        estimate_error=estimate_error,
        versions=versions,
        patience=patience,
    )


def status() -> StatusReport:
    """The pipeline at a glance: components, tasks with their main metrics, joins, drift, problems.

    Raises:
        StoreError: there is no store; a question creates none.
    """
    return read_status(_reader())


def problems() -> Table[Problem]:
    """The problems that need attention, and what to do about each, as in ``fourfold doctor``.

    Raises:
        StoreError: there is no store; a question creates none.
    """
    return find_problems(_reader())


def streams() -> Table[StreamView]:
    """All streams with their number of records, first and last day, and columns.

    Raises:
        StoreError: there is no store; a question creates none.
    """
    return list_streams(_reader())


def runs(component: str | None = None, *, limit: int = 20) -> Table[Run]:
    """The newest runs, the newest first.

    Args:
        component: only this component's runs. Default: all.
        limit: the most runs to return.

    Raises:
        StoreError: there is no store; a question creates none.
        UnknownNameError: no such component; the message lists the known ones.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit={limit!r}: give a number of runs, at least 1")
    reader = _reader()
    known = reader.recall(components_of)
    if component is not None and component not in known:
        raise suggest("component", component, list(known))
    return recent_runs(reader, component, limit)


def delete(stream: str, keys: Iterable[Any]) -> int:
    """Delete all records of some keys from a stream's log, and subtract them from the counts.

    Extremes and distinct counts cannot be subtracted and stay. ``fourfold forget`` erases more: every copy, in all
    streams.

    Args:
        stream: the stream's name.
        keys: a list of keys as given to ``ff.log``: texts, numbers, or tuples for multi-part keys.

    Returns:
        The number of deleted records.

    Raises:
        UnknownNameError: no such stream.
        InputError: the keys are no list, or none.
        StoreError: the store cannot be written.
    """
    if isinstance(keys, (str, bytes, tuple, Mapping)) or not isinstance(keys, Iterable):
        raise InputError(f"keys={keys!r}: give a list of keys, such as ['AA1'], or [('q1', 'item')] of several parts")
    texts = [text for key in keys if (text := key_text(key)) is not None]
    return store_to_ask().writer.delete(_text("stream", stream), texts)


def trace(key: Any) -> Trace:
    """The path of one record through the components: features, prediction, decision, label, each with its run.

    Reads the log.

    Args:
        key: the key as given to ``ff.log``: a text, a number, or a tuple for a multi-part key.

    Raises:
        InputError: no stream has logged this key; the message lists the logged streams.
    """
    return find_trace(_reader(), _text("key", key_text(key) or ""))


def compare(
    a: Mapping[str, str | None], b: Mapping[str, str | None], window: tuple[Moment, Moment] | None = None
) -> Comparison:
    """Two groups of records side by side at every component, ranked by how much they differ. Reads the log.

    ``ff.compare({"carrier": "AA"}, {"carrier": "UA"}, ("2013-06-01", "2013-07-01"))``

    Args:
        a: one slice of predictions, by columns of the stream or slices that a task declares.
        b: the other slice, with the same columns.
        window: (start, end) of the predictions' event times. Default: all predictions.

    Raises:
        InputError: the slices have different columns, are equal, or one is empty.
        UnknownNameError: no logged stream has these columns.
    """
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        raise InputError(
            f"compare {a!r} with {b!r}: give two slices, such as {{'carrier': 'AA'}} and {{'carrier': 'UA'}}"
        )
    if window is not None and not (isinstance(window, (tuple, list)) and len(window) == 2):
        raise InputError(f"window={window!r}: give (start, end)")
    for name, value in (*a.items(), *b.items()):
        _text("slice", name)
        _text(name, "" if value is None else str(value))
    return compare_slices(_reader(), a, b, window)


def skew(reference: str, current: str, *, start: Moment | None = None, end: Moment | None = None) -> Table[ColumnSkew]:
    """The differences, in words, between two streams that should be alike, such as "train.features" and "predict".

    Args:
        reference: the baseline stream, with all its records.
        current: the stream to check.
        start: the first day of ``current``. Default: its first record.
        end: its end, exclusive.

    Raises:
        UnknownNameError: no such stream; the message lists the known ones.
        InputError: the window is empty or not in whole days.
    """
    _text("reference", reference), _text("current", current)
    return find_skew(_reader(), reference, current, start=start, end=end)


def discrepancies(
    reference: str,
    current: str,
    *,
    columns: Sequence[str] | None = None,
    relative: float = 1e-6,
    absolute: float = 0.0,
    examples: int = 5,
) -> Table[Discrepancy]:
    """The same keys in two streams, such as features computed offline and online, compared value by value.

    If a key has several records, the newest by log time counts. The first row (column "") compares the keys
    themselves; then each column that both streams have, the worst first. Reads the log.

    Args:
        reference: a logged stream, such as the features computed offline.
        current: the stream to compare with it.
        columns: the columns to compare. Default: all that both have.
        relative: numbers match if they differ by at most this share of the reference's value …
        absolute: … plus this.
        examples: the number of example keys of each kind.

    Raises:
        UnknownNameError: no such stream or column.
        InputError: a stream has no keys, or a tolerance is negative.
    """
    _text("reference", reference), _text("current", current)
    return find_discrepancies(
        _reader(),
        reference,
        current,
        columns=columns,
        relative=relative,
        absolute=absolute,
        examples=examples,
    )


def store_to_ask() -> Store:
    """The store, with all that this process has logged, for the chosen project or the only one.

    Raises:
        StoreError: there is no store; a question creates none.
        UnknownNameError: the project does not exist, or there are several and none was chosen.
        ConfigError: the store is behind a collector, and cannot be asked from here.
    """
    now = session()
    store_folder(now.settings.store)
    now.flush()
    place_to_ask(now.settings)
    return now.store_of(project_to_ask(now.store, now.settings, has_logged=now.has_sent))


def _text(field: str, value: object) -> str:
    if not is_text(value):
        raise InputError(f"{field}={value!r}: give a text (without lone surrogates, which no record can hold)")
    return value


def _listed(by: str | Sequence[str] | None) -> Sequence[object]:
    return by if isinstance(by, (list, tuple)) else [] if by is None else [by]


def _reader() -> Reader:
    return store_to_ask().caught_up()
