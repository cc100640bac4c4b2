"""The problems that a reader finds, and what to do about them, for ``doctor`` and the status."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator

from fourfold.engine import Extent, columns_of_slice
from fourfold.errors import FourfoldError
from fourfold.fold.tasks import Joined
from fourfold.log import Quarantined
from fourfold.metrics.tasks import LABELS, unusable
from fourfold.model import DAY, HOUR, MOST_SLICES, Dimension, Owner, Run, RunStatus, StreamColumn, Task, Value
from fourfold.model.names import UNREADABLE_TIME
from fourfold.model.records import users
from fourfold.query.counts import EVER, CurrentCounts, by_window
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.query.table import Table
from fourfold.reports import integrity
from fourfold.reports.components import components
from fourfold.reports.problem import Problem as Problem
from fourfold.state import StateError, catalogue, series

_ENOUGH = 30  # the fewest predictions or labels of a slice to report on
_FAN_OUT = 1.01  # rows a key of a plain join, from which on it is a problem
_MISSING = 0.1  # of the predictions, by which a slice has fewer labels than the whole
_LATE = 3  # times the usual delay, and an hour more
_NAMED = 5  # keys and slices that a message names


@dataclasses.dataclass(frozen=True, slots=True)
class LabelLag:
    """The labels of a slice: the median delay in seconds, the share labelled, and the share still expected."""

    task: str
    slice: str
    delay: Value
    coverage: Value

    @property
    def final(self) -> float:
        """The share that will be labelled in the end."""
        return (self.coverage.value or 0.0) + (self.coverage.expected_labels or 0.0)


def problems(reader: Reader, *, unassigned: bool = True) -> Table[Problem]:
    """All problems of a project; ``unassigned``: and what was sent of which no project is known.

    Raises:
        StoreError: the state is unusable.
    """
    whole = list(integrity.of_store(reader))  # examined before what is missing is counted again without it
    found = list(integrity.quarantined(_kept_aside(reader, unassigned=unassigned)))
    found += _dropped(reader)
    found += _unnamed(reader) if unassigned else ()
    found += uncountable(reader)
    found += [*whole, *integrity.made_anew(reader), *integrity.stuck(reader)]
    with reader.database.read() as connection:
        tasks = list(catalogue.tasks(connection, reader.project).values())
        streams = list(catalogue.streams(connection, reader.project))
    for task in tasks:
        found += [*_of_streams(task, streams), *_of_retention(reader, task)]
        if reader.failure(Owner.of_task(task.name), ()) is None:
            found += _answered(task.name, functools.partial(_of_task, reader, task))
    for stream in dict.fromkeys(stream for task in tasks for stream in task.streams if stream in streams):
        found += _answered(stream, functools.partial(_of_keys, reader, stream))
    found += _of_times(reader)
    shown = components(reader)
    found += _of_clocks(entry.last for entry in shown)
    for entry in shown:
        if entry.last.status in (RunStatus.FAILED, RunStatus.LOST):
            text = f"its newest run {entry.last.outcome}"
            found.append(Problem("failed_run", entry.name, text, f"see fourfold runs {entry.name}"))
    return Table(found)


def _of_clocks(newest: Iterable[Run]) -> Iterator[Problem]:
    """The hosts of components' newest runs whose clocks are ahead."""
    ahead: dict[str, list[Run]] = {}
    for run in newest:
        if run.ahead:
            ahead.setdefault(run.host, []).append(run)
    for host, several in ahead.items():
        names = ", ".join(repr(run.component) for run in several[:_NAMED])
        by = max(run.ahead for run in several)
        text = f"its clock is ahead by {_span(by)}: the newest run of {names} counts as of when it came"
        yield Problem("clock_ahead", f"host {host}" if host else "a host that is not named", text, "set its clock")


def _span(seconds: float) -> str:
    return f"{seconds / DAY:,.1f} days" if seconds >= 2 * DAY else f"{seconds / HOUR:.1f} hours"


def _kept_aside(reader: Reader, *, unassigned: bool) -> list[Quarantined]:
    mine = (reader.project, "") if unassigned else (reader.project,)
    return [entry for entry in reader.quarantine.entries() if entry.project in mine]


def _dropped(reader: Reader) -> Iterator[Problem]:
    """The processes that have dropped records, each with the newest total that it reported."""
    for total in reader.quarantine.dropped():
        if total.project == reader.project:
            told = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(total.at))
            why = total.why or "they came faster than they could be written, or the store could not be written"
            text = f"{total.records:,} records were dropped, as reported at {told}: {why}"
            advice = (
                "what came too fast, or found no room, is lost: log frames instead of single records, or let calls "
                "wait for room with ff.init(wait=1.0); for what was refused, correct what is sent; when read, delete "
                f"its note in {reader.quarantine.dropped_folder}"
            )
            yield Problem("dropped_records", f"process {total.process} on {total.host}", text, advice)


def _unnamed(reader: Reader) -> Iterator[Problem]:
    """Who has sent to a collector of late without naming a project, where several could be meant."""
    for each in reader.quarantine.unnamed():
        first, last = (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) for at in (each.first, each.last))
        text = (
            f"requests refused since {first}: {each.requests:,}, the last at {last} ({each.asked}); they name no "
            "project, and several can be meant"
        )
        advice = (
            "name it there, as in ?project=NAME (of OpenLineage: OPENLINEAGE_ENDPOINT=api/v1/lineage?project=NAME), or "
            "give it a token that is good for one: fourfold tokens --add NAME --only PROJECT"
        )
        yield Problem("unnamed_project", each.sender, text, advice)


def _answered(subject: str, ask: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """The problems that a question finds; if it fails, the other questions go on."""
    try:
        return list(ask())
    except StateError:
        raise
    except FourfoldError as error:
        return [integrity.told(subject, error)]


def _of_task(reader: Reader, task: Task) -> list[Problem]:
    return [*_of_columns(reader, task), *_of_labels(reader, task), *_of_slices(reader, task)]


def _of_keys(reader: Reader, stream: str) -> Iterator[Problem]:
    rate = metric(reader, stream, "null_key_rate").value
    if rate.value:
        text = f"{rate.value:.2%} of its {rate.n:,} records have no key"
        yield Problem("null_keys", stream, text, "they join nothing; give key= a column without nulls")


def _of_times(reader: Reader) -> Iterator[Problem]:
    """Streams with records whose times were mistakes: who sent them by HTTP was not told."""
    with reader.database.read() as connection:
        owners = series.owners_with(connection, reader.project, UNREADABLE_TIME)
    for stream in (owner.name for owner in owners if owner.kind == "stream"):
        rate = metric(reader, f"{stream}.{UNREADABLE_TIME}", "null_rate").value
        rows = metric(reader, stream, "rows").value.value or 0.0
        if (wrong := round(rate.n * (1 - (1.0 if rate.value is None else rate.value)))) > 0:
            text = f"the times of {wrong:,} of its {rows:,.0f} records cannot be read, or are implausible"
            advice = f"they count as of when they were logged; fourfold streams {stream} shows what was given"
            yield Problem("unreadable_times", stream, text, advice)


def uncountable(reader: Reader) -> list[Problem]:
    """Declarations that turn out to be wrong only on the records."""
    advice = "correct the declaration; what was counted before stays"
    found = {
        (job.owner.name, f"{job.metric or 'slices'} by {str(job.dimension) or 'all'}: {why}")
        for job, why in reader.failures().items()
    }
    return [Problem("not_counted", subject, text, advice) for subject, text in sorted(found)]


def label_lag(reader: Reader, task: Task, dimension: Dimension) -> list[LabelLag]:
    """The labels of each slice of a dimension (``ALL``: of all records) that has enough predictions."""
    by = dimension.names or None
    delays = metric(reader, task.name, "label_delay(0.5)", by=by)
    shares = metric(reader, task.name, "coverage", by=by)
    known = {tuple(row.slice.values()): row.value for row in delays}
    return [
        LabelLag(task.name, " × ".join(map(str, row.slice.values())), known[tuple(row.slice.values())], row.value)
        for row in shares
        if row.value.n >= _ENOUGH and tuple(row.slice.values()) in known
    ]


def _of_streams(task: Task, streams: list[str]) -> Iterator[Problem]:
    for stream in task.streams:
        if stream not in streams:
            advice = f"log to it, or correct the task; the streams are {', '.join(streams) or '(none yet)'}"
            yield Problem("missing_stream", task.name, f"stream {stream!r} has no records", advice)


def _of_columns(reader: Reader, task: Task) -> Iterator[Problem]:
    """Declarations over columns that no record of the stream has, so that all their values are null."""
    wanted = [("prediction", task.prediction), ("label", task.label)]
    wanted += [("outcome", task.outcome)] if task.outcome is not None else []
    stream = task.prediction.stream
    fields = {"version": task.version, "probabilities": task.probabilities, "query": task.query}
    wanted += [(field, StreamColumn(stream, column)) for field, column in fields.items() if column]
    for dimension in task.slices:
        wanted += [
            (f"slices by {dimension}", StreamColumn(stream, name)) for name in sorted(columns_of_slice(dimension))
        ]
    for field, source in wanted:
        known = {name.casefold(): name for name in users(reader.log(source.stream).schema.names)}
        if known and source.column.casefold() not in known:
            near = difflib.get_close_matches(source.column.casefold(), known, n=1)
            hint = f"; did you mean {known[near[0]]!r}?" if near else ""
            text = f"{field}: no record of {source.stream!r} has a column {source.column!r}{hint}"
            advice = f"log it, or correct the task; the columns are {', '.join(known.values())}"
            yield Problem("missing_column", task.name, text, advice)


def _of_retention(reader: Reader, task: Task) -> Iterator[Problem]:
    """Predictions that are erased while their labels can still come; records for a closed time."""
    kept = reader.retention.get(task.prediction.stream)
    if kept is not None and kept < task.horizon:
        text = f"{task.prediction.stream!r} is kept for {kept // DAY} days; labels may come for {task.horizon // DAY}"
        advice = "labels that come after that are not counted: keep it longer in fourfold.toml, or shorten the horizon"
        yield Problem("short_retention", task.name, text, advice)


def _of_labels(reader: Reader, task: Task) -> Iterator[Problem]:
    """Labels that join nothing, come too late, or repeat for one prediction; groups with late labels."""
    orphans = metric(reader, task.name, "orphan_labels").value
    if orphans.value:
        keys = ", ".join(map(repr, itertools.islice(_orphans(reader, task), _NAMED)))
        text = f"{orphans.value:.0f} orphan labels, whose keys were never predicted: {keys}"
        yield Problem("orphan_labels", task.name, text, "check that both streams use the same key")
    yield from _unusable(reader, task)
    expired = metric(reader, task.name, "expired_labels").value
    if expired.value:
        advice = "check time= of the label stream, or declare a longer horizon"
        yield Problem("expired_labels", task.name, f"{expired.value:.0f} expired labels", advice)
    fan = metric(reader, task.name, "fan_out").value
    if fan.value is not None and fan.value > _FAN_OUT:
        text = f"a plain join of its streams has {fan.value:.3g} rows per key"
        advice = "keys are repeated or corrected; fourfold counts each once, your own join would not"
        yield Problem("fan_out", task.name, text, advice)
    whole = label_lag(reader, task, Dimension())
    for dimension in task.slices if whole else ():
        if reader.failure(Owner.of_task(task.name), dimension.names) is None:
            yield from _lagging(task, dimension, whole[0], label_lag(reader, task, dimension))


def _unusable(reader: Reader, task: Task) -> Iterator[Problem]:
    """Labels that the task cannot use, with their values."""
    found, _ = by_window(CurrentCounts(reader, Owner.of_task(task.name)), "", (task.kind,), (), [EVER], DAY, bins=False)
    number = sum(entry.tally("invalid_label") for _, entry in found)
    if number > 0:
        seen = reader.engine.unusable_labels(task, reader.log(task.label.stream).whole(), _NAMED + 1)
        values = ", ".join(f"{value!r} ({n:,})" for value, n in seen[:_NAMED]) + (", …" if len(seen) > _NAMED else "")
        text = f"{unusable(number)}; {task.label} holds {values}"
        yield Problem("unusable_labels", task.name, text, f"a label must be {LABELS[task.kind]}")


def _lagging(task: Task, dimension: Dimension, whole: LabelLag, slices: list[LabelLag]) -> Iterator[Problem]:
    missing = [lag for lag in slices if lag.coverage.high is not None and lag.final < whole.final - _MISSING
               and lag.coverage.high + (lag.coverage.expected_labels or 0.0) < whole.final - _MISSING]  # fmt: skip
    usual = whole.delay.value
    late = [lag for lag in slices if usual is not None and lag.delay.value is not None and lag.delay.n >= _ENOUGH
            and lag.delay.value > _LATE * max(usual, 0.0) + HOUR]  # fmt: skip
    for kind, what, words, usually in (
        (
            "missing_labels",
            "labels are missing",
            [f"{lag.slice} {lag.final:.0%}" for lag in missing],
            f"{whole.final:.0%} of all",
        ),
        (
            "late_labels",
            "labels are late (median delay)",
            [f"{lag.slice} {(lag.delay.value or 0.0) / HOUR:.3g} h" for lag in late],
            f"{(usual or 0.0) / HOUR:.3g} h for all",
        ),
    ):
        if words:
            named = ", ".join(words[:_NAMED]) + (", …" if len(words) > _NAMED else "")
            advice = f"see fourfold metrics {task.name} label_delay(0.5) --by {' --by '.join(dimension.names)}"
            yield Problem(kind, task.name, f"{what} by {dimension}: {named}, against {usually}", advice)


def _of_slices(reader: Reader, task: Task) -> Iterator[Problem]:
    for dimension in task.slices:
        with reader.database.read() as connection:
            kept_slices = catalogue.kept_slices(connection, reader.project, task.prediction.stream, dimension)
        if kept_slices.full:
            text = f"slices by {dimension} have more than {MOST_SLICES} values; the rest is counted as '(other)'"
            yield Problem(
                "many_slices", task.name, text, "slice by a coarser column, or an expression that groups values"
            )


def _orphans(reader: Reader, task: Task) -> Iterator[str]:
    """Keys of labels that were never predicted."""
    logs, bare = reader.whole(task.streams), task.without_sums
    with reader.database.read() as connection:
        closed = catalogue.closed_before(connection, reader.project, task.streams)
    extent = Extent(closed=None if closed is None else closed * 1_000_000)
    for table in reader.engine.joined(bare, logs, {}, extent):
        yield from table.filter(Joined(table, bare).table["orphan"])["key"].to_pylist()
