"""Answers a question about a metric: finds its target and its counts, and chooses the way to answer."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence

from fourfold.errors import ConfigError, InputError, suggest
from fourfold.metrics import FromLog, Question, parse
from fourfold.metrics.custom import REGISTERED
from fourfold.model import Dimension, Sums, Value, Window, when
from fourfold.query import ways
from fourfold.query.counts import CurrentCounts, OwnerCounts, PastCounts
from fourfold.query.filtered import ALL_RECORDS, Filter, FilteredCounts
from fourfold.query.reader import Reader
from fourfold.query.result import Moment, Result, seconds
from fourfold.query.target import Target, resolve
from fourfold.query.windows import windows as windows_of
from fourfold.state import catalogue, jobs

_ALWAYS_READ = (catalogue.tasks, catalogue.streams, catalogue.counted_to, jobs.failures, jobs.progress)


def metric(
    reader: Reader,
    target: str | Target,
    name: str,
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
    where: Filter = ALL_RECORDS,
) -> Result:
    """A metric by window and slice.

    The arguments are those of ``ff.metric``; ``reader`` is where to look, ``where`` the records that are meant.

    Raises:
        UnknownNameError: no such target, metric or slice; the message lists the known ones.
        InputError: an invalid window or parameter.
        ConfigError: the task cannot be counted, because its declaration is wrong.
    """
    with reader.database.question():
        reader.database.recall_together(_ALWAYS_READ, reader.project)
        found = resolve(reader, target) if isinstance(target, str) else target
        question = parse(name, found.kind, found.task.kind if found.task is not None else None)
        _check(question, found)
        _check_way(question, against=against, estimate=estimate, estimate_error=estimate_error, versions=versions)
        moment = None if as_of is None else seconds(as_of, "as_of") * 1_000_000
        names = tuple(sorted([by] if isinstance(by, str) else by or ()))
        failure = reader.failure(found.owner, names, question.metric.name)
        if failure is not None:
            raise ConfigError(failure)
        dimension = _dimension(reader, found, names) if names else Dimension()
        source: OwnerCounts = CurrentCounts(reader, found.owner)
        if moment is not None:
            streams = found.task.streams if found.task is not None else (found.stream,)
            strata = found.task.slices if found.task is not None and (estimate or estimate_error) else ()
            source = PastCounts(reader, streams, found.task, (dimension, *strata), moment)
        if where:
            if moment is not None or _is_function(question) or versions is not None:
                raise InputError(f"{question.text}: of some slices only, ask for counts as they are now")
            source = FilteredCounts(source, str(found.owner), where, names)
        windows, level = windows_of(source, start, end, every)
        if moment is not None or _is_function(question):
            asked = windows[0].start if start is not None and windows else None
            _check_kept(reader, found, asked, moment)
        if not windows:
            span = Window(0, 0)
            if start is not None and end is not None:
                last = when(end, "end", int(time.time()))
                span = Window(when(start, "start", last), last)
            why = "" if moment is None else f" by {as_of}"
            return Result(
                question.text, [], [span], [{}], [Value.no_data(f"nothing was logged for {found.name!r} yet{why}")]
            )
        query = ways.Query(reader, found, question, source, windows, level, names, moment, where)
        if _is_function(question):
            return ways.from_log(query, dimension)
        damage = reader.damage(found.owner) if moment is None else ""
        if versions is not None:
            return ways.of_versions(query, versions).told(damage)
        if estimate or estimate_error:
            return ways.estimated(query, error=estimate_error).told(damage)
        return ways.counted(query, against).told(damage)


def _check(question: Question, target: Target) -> None:
    """Reject ranks at which a ranking task is not evaluated."""
    k, task = question.parameters.get("k"), target.task
    if task is not None and task.kind == "ranking" and k is not None and k not in task.cutoffs:
        raise InputError(
            f"{question.text}: task {task.name!r} is evaluated at {list(task.cutoffs)}; declare cutoffs=[{k:g}]"
        )


def _check_way(question: Question, **ways: object) -> None:
    """Reject questions that ask for more than one special way to answer."""
    for name in ("estimate", "estimate_error"):
        if not isinstance(ways[name], bool):
            raise InputError(f"{name}={ways[name]!r}: give True or False")
    given = [name for name, value in ways.items() if value not in (None, False)]
    if len(given) > 1:
        raise InputError(f"{question.text}: {'= and '.join(given)}= are different questions; ask one of them")
    if given and _is_function(question):
        raise InputError(f"{question.text} is a function of logged records; {given[0]}= does not apply")


def _check_kept(reader: Reader, target: Target, start: int | None, as_of: int | None) -> None:
    """Reject questions about records that the log has erased; only their current counts are left."""
    streams = target.task.streams if target.task is not None else (target.stream,)
    closed = reader.database.recall(catalogue.closed_before, reader.project, streams)
    query = [start] if start is not None else []
    query += [as_of // 1_000_000] if as_of is not None else []
    if closed is not None and query and min(query) < closed:
        day = dt.datetime.fromtimestamp(closed, dt.UTC).date()
        raise InputError(f"the records before {day} were erased; ask about later times, or without as_of=")


def _is_function(question: Question) -> bool:
    return isinstance(question.metric, FromLog)


def undeclared_sums(reader: Reader, target: str, name: str) -> Sums | None:
    """The sums of a custom metric that a task does not declare yet, and that must be declared and counted first."""
    custom = REGISTERED.get(name.partition("(")[0].strip())
    if custom is None or custom.sums is None:
        return None
    task = resolve(reader, target).task
    return None if task is None or custom.sums in task.sums else custom.sums


def _dimension(reader: Reader, target: Target, names: tuple[str, ...]) -> Dimension:
    """The declared dimension of these names."""
    tasks = reader.database.recall(catalogue.tasks, reader.project).values()
    known = {entry.names for entry in CurrentCounts(reader, target.owner).series()}
    declared = [d for task in tasks if task.prediction.stream == target.stream for d in task.dimensions]
    for dimension in declared:
        if dimension.names == names:
            return dimension
    if names in known:  # of frames that were counted by columns
        return Dimension()
    listed = sorted({" × ".join(n) for n in known if n} | {str(d) for d in declared})
    raise suggest(f"slice of {target.owner.name}", " × ".join(names), listed)
