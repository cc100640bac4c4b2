"""The classes of metrics, and ``@metric``, which declares a metric where its function is written.

    @metric("binary", title="F1", headline=3)
    def f1(counts: Counts, threshold: float | None = None) -> Value:

The function's types say the rest: whether it compares with a reference (two ``Counts``), needs the ``Task``, answers
for many rows at once (a ``Panel``), gives a ``Curve``, and its parameters.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from fourfold.counts import Counts, Panel
from fourfold.model import Task, Value

Parameter = float | str
Curve = list[tuple[tuple[str, ...], Value]]  # several values, by name
Share = tuple[Any, Any]  # numbers or arrays of them: what counts, of what
OfCells = Callable[[Any, Any, Any, Any], Share]  # true positives, false positives, false negatives, true negatives
F = TypeVar("F", bound=Callable[..., Any])

TASKS = ("binary", "multiclass", "multilabel", "regression", "ranking", "decision")
_GIVEN = (Counts, Panel, Task)  # to a function, before its parameters


@dataclasses.dataclass(frozen=True, slots=True)
class Additive:
    """A metric that is a function of counts, and so works on any window."""

    name: str
    function: Callable[..., Any]  # (Counts or Panel, a distance's reference, the task; **parameters) -> Value or Curve
    kinds: tuple[str, ...]  # the kinds of series it reads, the preferred first
    target: str = "column"  # "column", "stream" or "task"
    tasks: tuple[str, ...] = ()  # for a task: the kinds of task that have it
    bins: bool = False  # whether it needs the bins, beside tallies and sums
    series: str = ""  # for a task: the column of the series it reads; {k} is replaced by a parameter
    curve: tuple[str, ...] = ()  # the columns that name its several values
    title: str = ""  # the column title, if not its name
    headline: int = 0  # its place among the main metrics of its kind of task; 0: none
    paired: OfCells | str | None = None  # two versions on the same keys: by cells, or sums

    @property
    def parameters(self) -> Mapping[str, type]:
        """The names of its parameters, in order, and whether each is a ``str``, an ``int`` or a ``float``."""
        return _Signature.of(self.function).parameters

    @property
    def required(self) -> tuple[str, ...]:
        """The parameters that have no default."""
        return _Signature.of(self.function).required

    @property
    def distance(self) -> bool:
        """Whether it compares with a reference."""
        return _Signature.of(self.function).given.count(Counts) == 2

    @property
    def of_task(self) -> bool:
        """Whether it needs to know the task."""
        return Task in _Signature.of(self.function).given

    @property
    def by_panel(self) -> bool:
        """Whether it answers for many rows at once."""
        return Panel in _Signature.of(self.function).given

    def of(
        self, counts: Counts, reference: Counts | None = None, task: Task | None = None, **parameters: Parameter
    ) -> Any:
        """The metric of some counts: a ``Value``, or a ``Curve`` of several."""
        if self.by_panel:
            return self.of_panel(Panel.of(counts), **parameters)[0]
        more = [*([reference] if self.distance else []), *([task] if self.of_task else [])]
        return self.function(counts, *more, **parameters)

    def of_panel(self, panel: Panel, **parameters: Parameter) -> list[Any]:
        """The metric of each row, if it answers for many at once."""
        answers: list[Any] = self.function(panel, **parameters)
        return answers


@dataclasses.dataclass(frozen=True, slots=True)
class FromLog:
    """A metric that is a function of labels and predictions; each question reads the log."""

    name: str
    function: Callable[[Any, Any], float]
    sample: int | None  # the most records that it receives
    target: ClassVar[str] = "task"
    parameters: ClassVar[Mapping[str, type]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ()
    series: ClassVar[str] = ""
    curve: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = ""
    bins: ClassVar[bool] = False
    distance: ClassVar[bool] = False


METRICS: dict[str, tuple[Additive, ...]] = {}  # by name; several functions if they are for other kinds of task


def metric(
    *kinds: str,
    name: str = "",
    bins: bool = False,
    series: str = "",
    curve: tuple[str, ...] = (),
    title: str = "",
    headline: int = 0,
    paired: OfCells | str | None = None,
) -> Callable[[F], F]:
    """Declare a metric for some kinds of tasks or series, named after its function unless ``name`` is given.

    A function may have several such decorators, each with another name. See ``Additive``.
    """

    def declare(function: F) -> F:
        of_task = kinds[0] in TASKS
        declared = Additive(
            name or function.__name__, function, ("numeric",) if series else kinds,
            "task" if of_task else "stream" if kinds == ("stream",) else "column", kinds if of_task else (),
            bins or bool(series), series, curve, title, headline, paired,
        )  # fmt: skip
        METRICS[declared.name] = (*METRICS.get(declared.name, ()), declared)
        return function

    return declare


@dataclasses.dataclass(frozen=True, slots=True)
class _Signature:
    """The inputs and the parameters of a metric's function."""

    given: tuple[type, ...]
    parameters: Mapping[str, type]
    required: tuple[str, ...]

    @staticmethod
    @functools.cache
    def of(function: Callable[..., Any]) -> _Signature:
        """Read off a function's types."""
        types_ = {name: _bare(hint) for name, hint in typing.get_type_hints(function).items() if name != "return"}
        parameters = {name: of for name, of in types_.items() if of not in _GIVEN}
        defaults = inspect.signature(function).parameters
        return _Signature(
            tuple(of for of in types_.values() if of in _GIVEN),
            parameters,
            tuple(name for name in parameters if defaults[name].default is inspect.Parameter.empty),
        )


def _bare(hint: Any) -> type:
    """A parameter's type, without None."""
    if isinstance(hint, types.UnionType):
        hint = next(of for of in typing.get_args(hint) if of is not types.NoneType)
    found: type = hint
    return found
