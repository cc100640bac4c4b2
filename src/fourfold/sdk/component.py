"""A function whose calls are runs: the decorator ``@ff.component``."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, overload

from fourfold.errors import ConfigError, let_end
from fourfold.expectations import of_columns
from fourfold.model.time import seconds
from fourfold.sdk.code import code_version
from fourfold.sdk.host import error_text, guarded, shown
from fourfold.sdk.session import session
from fourfold.sdk.tracking import Tracked, check_name, check_share

P = ParamSpec("P")
R = TypeVar("R")
Check = Literal["warn", "block"] | Callable[..., Any]
_PLAIN = frozenset({str, int, float, bool, type(None)})  # recorded as parameters, never as artifacts


@overload
def component(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def component(
    name: str | None = None,
    /,
    *,
    at: str | None = None,
    time: str | None = None,
    by: Sequence[str] = (),
    share: float | None = None,
    expects: Mapping[str, Mapping[str, Any]] | None = None,
    check: Check | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def component(
    function: Callable[P, R] | str | None = None,
    /,
    *,
    at: str | None = None,
    time: str | None = None,
    by: Sequence[str] = (),
    share: float | None = None,
    expects: Mapping[str, Mapping[str, Any]] | None = None,
    check: Check | None = None,
) -> Any:
    """Track each call of a function as a run of a component, named after the function unless a name is given.

    Dataframes, models and ``pathlib.Path`` files among the arguments and the result are recorded as inputs and
    outputs, plain values as parameters. Works on functions, methods, coroutines, generators and async generators.

    Args:
        function: the function; or the component's name.
        at: the parameter that holds the run's logical time.
        time: the event-time column of the dataframes, if they have it.
        by: columns by which the dataframes are counted too, if they have them.
        share: count only this share of a dataframe's records, drawn at random; see ``ff.run``.
        expects: what the values of columns are to be, in the dataframes and in the stream of the component's name:
            ``{"age": {"min": 0, "max": 120, "null": False, "values": [...], "unique": True}}``.
        check: what to do, before the function's result is handed on, if its dataframes differ from those of earlier
            runs or from what is expected of their columns: "warn", or "block", which raises ``CheckError``, so that
            the run fails. Or a function of your own, which is given the result and the component's history (see
            ``ff.history``) and returns what is wrong, as a text or a list of texts, or None; then it blocks.
    """
    if not (check is None or check in ("warn", "block") or callable(check)):
        raise ConfigError(f'check={check!r}: give "warn", "block", or a function of the result and the history')

    def decorate(target: Callable[P, R]) -> Callable[P, R]:
        name = function if isinstance(function, str) else target.__name__
        declared = {} if expects is None else of_columns(expects, f"component {name!r}: expects")
        wrapped: Callable[P, R] = _Component(target, name, at, time, tuple(by), share, declared, check).wrapped()
        return wrapped

    return decorate(function) if callable(function) else decorate


class _Component:
    """The work around each call of a decorated function."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        at: str | None,
        time: str | None,
        by: tuple[str, ...],
        share: float | None,
        expects: Mapping[str, Mapping[str, Any]],
        check: Check | None,
    ) -> None:
        check_name(name)
        check_share(name, share)
        self.function, self.name, self.at, self.time, self.by, self.share = function, name, at, time, by, share
        if check is not None and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            raise ConfigError(f"component {name!r}: check={check!r} needs a function that returns what it makes whole")
        self.check = check
        declared = {"expects": expects} if expects else {}
        # read at the first call, since reading a source is slow
        self._code = functools.cache(lambda: {**code_version(function), **declared})
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
                tracked = self._begin(args, kwargs)
                try:
                    async for item in function(*args, **kwargs):
                        yield item
                except BaseException as error:
                    self._end(tracked, error)
                    raise
                self._end(tracked)

            return async_generator
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                tracked = self._begin(args, kwargs)
                try:
                    result = await function(*args, **kwargs)
                    self._finish(tracked, result)
                    if self.check is not None and tracked is not None:
                        self._check(tracked, result)
                except BaseException as error:
                    self._end(tracked, error)
                    raise
                self._end(tracked)
                return result

            return coroutine
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                tracked = self._begin(args, kwargs)
                try:
                    returned: Any = yield from function(*args, **kwargs)
                except BaseException as error:
                    self._end(tracked, error)
                    raise
                self._end(tracked)
                return returned

            return generator

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            tracked = self._begin(args, kwargs)
            try:
                result = function(*args, **kwargs)
                self._finish(tracked, result)
                if self.check is not None and tracked is not None:
                    self._check(tracked, result)
            except BaseException as error:
                self._end(tracked, error)
                raise
            self._end(tracked)
            return result

        return plain

    @guarded
    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tracked:
        """The run of one call. The function itself rejects arguments that do not fit."""
        try:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = dict(bound.arguments)
        except TypeError:
            values = {}
        at = None if self.at is None else _moment(values.get(self.at))
        tracked = Tracked(self.name, _params(values), at, self._code(), self.share)
        tracked.keeps_profiles = self.check is not None
        tracked.__enter__()
        self._artifacts(tracked, "input", values)
        return tracked

    @guarded
    def _finish(self, tracked: Tracked | None, result: Any) -> None:
        if tracked is not None:
            self._record_output(tracked, result)

    @guarded
    def _end(self, tracked: Tracked | None, error: BaseException | None = None) -> None:
        if tracked is not None:
            tracked.__exit__(None if error is None else type(error), error, None)

    def _check(self, tracked: Tracked, result: Any) -> None:
        if self.check is not None and session().can_check(self.name):
            from fourfold.sdk.checking import check_output  # what judges loads the engines

            check_output(self.name, self.check, result, tracked)

    def _record_output(self, tracked: Tracked, result: Any) -> None:
        if isinstance(result, dict):
            named = {str(name): value for name, value in result.items()}
        elif isinstance(result, (tuple, list)):
            named = {f"output_{i}": value for i, value in enumerate(result)}
        else:
            named = {"output": result}
        self._artifacts(tracked, "output", named)

    @guarded
    def _artifacts(self, tracked: Tracked, direction: str, named: Mapping[str, Any]) -> None:
        """Record the values that are frames, files or models."""
        for name, value in named.items():
            if type(value) in _PLAIN:
                continue
            tracked.record(direction, name, value, self.time, self.by)


def _params(values: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    of_numpy = getattr(sys.modules.get("numpy"), "generic", ())  # not loaded: then no value is one of its
    shown_kinds = (dt.date, dict, list, tuple, set, *((of_numpy,) if of_numpy else ()))
    for name, value in values.items():
        if type(value) in _PLAIN:
            kept[name] = value
        elif issubclass(type(value), shown_kinds):
            kept[name] = shown(value)[:200]
    return kept


def _moment(value: Any) -> float | None:
    """The logical time in an argument; None if it is no moment, since that must not make a call fail."""

    if value is None or isinstance(value, bool):
        return None
    try:
        return float(seconds(value, "at"))
    except BaseException as error:
        let_end(error)
        session().warn(error_text(error))
        return None
