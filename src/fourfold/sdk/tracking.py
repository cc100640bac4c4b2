"""Runs of components: one object that is a decorator and a context manager, with fresh state for each call."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import inspect
import json
import os
import socket
import time as clock
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np
import pyarrow as pa

from fourfold.errors import ConfigError, InputError, let_end
from fourfold.fold import bucket_starts, fold_columns, fold_keys, group_records, is_frame, plan_columns, to_arrow
from fourfold.fold.groups import event_seconds
from fourfold.log import messages
from fourfold.model import Artifact, Run, RunStatus
from fourfold.model.time import seconds
from fourfold.sdk import fingerprint
from fourfold.sdk.batch import shown
from fourfold.sdk.code import code_version
from fourfold.sdk.session import current_run, session, shown_text

P = ParamSpec("P")
R = TypeVar("R")
_SCALARS = (str, int, float, bool, type(None))


class Tracked:
    """A run while it lasts: record what it reads, writes and measures. Made by ``ff.run`` and ``@ff.component``."""

    def __init__(
        self, component: str, params: Mapping[str, Any] | None, at: Any, code: Callable[..., Any] | None
    ) -> None:
        self._session = session()
        self._record = Run(
            id=uuid.uuid4().hex,
            component=component,
            status=RunStatus.RUNNING,
            started=clock.time(),
            at=None if at is None else float(seconds(at, "at")),
            host=socket.gethostname(),
            process=os.getpid(),
            code=code_version(code),
            params={str(name): _recordable(value) for name, value in (params or {}).items()},
        )
        self._artifacts: dict[tuple[str, str], Artifact] = {}
        self._metrics: dict[str, float] = {}
        self._token: Any = None

    @property
    def id(self) -> str:
        """The run's identity, which its log records carry."""
        return self._record.id

    @property
    def started(self) -> float:
        """When the run started, in seconds since 1970."""
        return self._record.started

    def input(self, name: str, value: Any, *, time: str | None = None, by: Sequence[str] = ()) -> None:
        """Record what the run reads: a dataframe, a file's path, or a model.

        A dataframe is counted where it is, by the columns of ``by`` too, at the run's time or at the times in the
        column ``time``; only the counts travel.
        """
        self._add("input", name, value, time, by)

    def output(self, name: str, value: Any, *, time: str | None = None, by: Sequence[str] = ()) -> None:
        """Record what the run writes; see ``input``."""
        self._add("output", name, value, time, by)

    def metric(self, name: str, value: float) -> None:
        """Record a number about the run, such as a validation score."""

        def record() -> None:
            self._metrics[str(name)] = float(value)

        self._session.guard(f"recording metric {name!r} of {self._record.component!r}", record)

    def __enter__(self) -> Tracked:
        parent = current_run.get()
        self._record = dataclasses.replace(self._record, parent=parent.id if parent else None, started=clock.time())
        self._token = current_run.set(self)
        self._send(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            with contextlib.suppress(ValueError):  # a generator may be closed in another context
                current_run.reset(self._token)
            self._token = None
        failed = error is not None and not isinstance(error, GeneratorExit)
        text = _described(error) if failed and error is not None else None
        self._send(
            dataclasses.replace(
                self._record,
                status=RunStatus.FAILED if failed else RunStatus.SUCCEEDED,
                ended=clock.time(),
                error=text,
                metrics=self._metrics,
                artifacts=tuple(self._artifacts.values()),
            )
        )

    def _send(self, record: Run) -> None:
        self._session.guard("recording a run", lambda: self._session.send(messages.run(self._session.project, record)))

    def record(self, direction: str, name: str, value: Any, time: str | None, by: Sequence[str]) -> None:
        """Record a value if it is an artifact, by those of the columns that it has."""

        def record_found() -> None:
            if is_frame(value):
                table = to_arrow(value)
                present = table.column_names
                self._record_frame(
                    direction, name, table, time if time in present else None, tuple(c for c in by if c in present)
                )
            elif (isinstance(value, Path) and value.is_file()) or fingerprint.is_model(value):
                self._record_artifact(direction, name, value)

        self._guarded(direction, name, record_found)

    def _add(self, direction: str, name: str, value: Any, time: str | None, by: Sequence[str]) -> None:
        def record_all() -> None:
            if is_frame(value):
                table = to_arrow(value)
                missing = {*by, *([time] if time else [])} - set(table.column_names)
                if missing:
                    raise InputError(f"there is no column {sorted(missing)[0]!r}; there are {table.column_names}")
                self._record_frame(direction, name, table, time, tuple(by))
            else:
                self._record_artifact(direction, name, value)

        self._guarded(direction, name, record_all)

    def _guarded(self, direction: str, name: str, action: Callable[[], None]) -> None:
        self._session.guard(f"recording {direction} {name!r} of {self._record.component!r}", action)

    def _record_frame(self, direction: str, name: str, table: pa.Table, time: str | None, by: tuple[str, ...]) -> None:
        self._count(name, table, time, by)
        artifact = Artifact(name, direction, "frame", fingerprint.of_frame(table), table.num_rows)
        self._artifacts[direction, name] = artifact

    def _record_artifact(self, direction: str, name: str, value: Any) -> None:
        if isinstance(value, (str, Path)):
            if not Path(value).is_file():
                raise InputError(f"{str(value)!r} is not a file")
            mark, details = fingerprint.of_file(Path(value))
            artifact = Artifact(name, direction, "file", mark, None, details)
        else:
            kind = type(value)
            details = {"type": f"{kind.__module__}.{kind.__qualname__}"}
            artifact = Artifact(name, direction, "model", fingerprint.of_model(value), None, details)
        self._artifacts[direction, name] = artifact

    def _count(self, name: str, table: pa.Table, time: str | None, by: tuple[str, ...]) -> None:
        stream = f"{self._record.component}.{name}"
        moment = int(self._record.at if self._record.at is not None else self._record.started)
        if time is not None and table[time].null_count == 0:
            event = event_seconds(table[time])
            table = table.drop_columns([time])
        else:
            event = np.full(table.num_rows, moment)
        plan = plan_columns(table, self._session.plan(stream), event)
        self._session.keep_plan(stream, plan)
        groups = group_records(bucket_starts(event), table.select(list(by)) if by else None)
        counted = pa.concat_tables(
            [fold_columns(table, event, groups, plan), *(fold_keys(None, group) for group in groups)]
        )
        self._session.send(messages.counted(self._session.project, stream, self._record, plan), counted)


def run(component: str, *, params: Mapping[str, Any] | None = None, at: Any = None) -> Tracked:
    """Track a run of a component: ``with ff.run("train", params={...}) as run: ...``.

    Its status, start, duration, exception, code version, parameters, inputs and outputs are recorded; an
    exception is recorded and goes on.

    Args:
        component: the component's name.
        params: what the run was called with.
        at: the logical time: which hour's or day's data the run is about; default: now.

    Raises:
        ConfigError: the component has no name.
    """
    _check_name(component)
    return Tracked(component, params, at, None)


@overload
def component(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def component(
    name: str | None = None, /, *, at: str | None = None, time: str | None = None, by: Sequence[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def component(
    function: Callable[P, R] | str | None = None, /, *, at: str | None = None, time: str | None = None,
    by: Sequence[str] = (),
) -> Any:  # fmt: skip
    """Track each call of a function as a run of a component, named after the function or as given.

    Dataframes, models and ``pathlib.Path`` files among the arguments and the result are recorded as inputs and
    outputs, plain values as parameters. Works on functions, methods, coroutines, generators and async generators.

    Args:
        function: the function; or the component's name.
        at: the parameter that holds the run's logical time.
        time: the event-time column of the dataframes, where they have it.
        by: columns by which the dataframes are counted too, where they have them.
    """
    if callable(function):
        return _Component(function, function.__name__, at, time, tuple(by)).wrapped()
    name = function

    def decorate(target: Callable[P, R]) -> Callable[P, R]:
        wrapped: Callable[P, R] = _Component(
            target, target.__name__ if name is None else name, at, time, tuple(by)
        ).wrapped()
        return wrapped

    return decorate


class _Component:
    """What a decorated function does around each call."""

    def __init__(
        self, function: Callable[..., Any], name: str, at: str | None, time: str | None, by: tuple[str, ...]
    ) -> None:
        _check_name(name)
        self.function, self.name, self.at, self.time, self.by = function, name, at, time, by
        self._signature = inspect.signature(function)
        if at is not None and at not in self._signature.parameters:
            raise ConfigError(
                f"component {name!r}: at={at!r} is not a parameter; there are {list(self._signature.parameters)}"
            )

    def wrapped(self) -> Any:
        function = self.function
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def async_generator(*args: Any, **kwargs: Any) -> Any:
                with self._start(args, kwargs):
                    async for item in function(*args, **kwargs):
                        yield item

            return async_generator
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._start(args, kwargs) as tracked:
                    result = await function(*args, **kwargs)
                    self._finish(tracked, result)
                    return result

            return coroutine
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                with self._start(args, kwargs):
                    returned: Any = yield from function(*args, **kwargs)
                    return returned

            return generator

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            with self._start(args, kwargs) as tracked:
                result = function(*args, **kwargs)
                self._finish(tracked, result)
                return result

        return plain

    @contextlib.contextmanager
    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tracked]:
        """The run of one call. Arguments that do not fit are left for the function itself to refuse."""
        try:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = dict(bound.arguments)
        except TypeError:
            values = {}
        tracked = Tracked(self.name, _params(values), _moment(values.get(self.at or "")), self.function)
        with tracked:
            self._artifacts(tracked, "input", values)
            yield tracked

    def _finish(self, tracked: Tracked, result: Any) -> None:
        session().guard(f"recording the output of {self.name!r}", lambda: self._record_output(tracked, result))

    def _record_output(self, tracked: Tracked, result: Any) -> None:
        if isinstance(result, dict):
            named = {str(name): value for name, value in result.items()}
        elif isinstance(result, (tuple, list)):
            named = {f"output_{i}": value for i, value in enumerate(result)}
        else:
            named = {"output": result}
        self._artifacts(tracked, "output", named)

    def _artifacts(self, tracked: Tracked, direction: str, named: Mapping[str, Any]) -> None:
        """Record those of the values that are frames, files or models."""
        for name, value in named.items():
            tracked.record(direction, name, value, self.time, self.by)


def _described(error: BaseException) -> str:
    """The exception with its traceback, from the host's own code on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, contextlib.__file__):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _params(values: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if type(value) in _SCALARS:
            kept[name] = value
        elif issubclass(type(value), (dt.date, np.generic, dict, list, tuple, set)):
            kept[name] = shown(value)[:200]
    return kept


def _recordable(value: Any) -> Any:
    """A parameter as JSON can hold it, else as its text."""
    try:
        return json.loads(json.dumps(value))
    except BaseException as error:
        let_end(error)
        return shown(value)[:200]


def _moment(value: Any) -> int | None:
    """The logical time that an argument gives; none where it is no moment, for a call must not fail by it."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return seconds(value, "at")
    except BaseException as error:
        let_end(error)
        session().warn(shown_text(error))
        return None


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"component name {name!r}: give a text that is not empty")
