"""What a metric is, and ``@metric``, by which it is declared where it is written.

    @metric("binary", title="F1", headline=3)
    def f1(counts: Counts, threshold: float | None = None) -> Value:

What else there is to know, the function's types say: whether it compares with a reference (two ``Counts``), needs the
``Task``, answers for many rows at once (a ``Panel``), gives a ``Curve``, and what its parameters are.
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
    """A metric that is a function of counts, and so of any window."""

    name: str
    function: Callable[..., Any]  # (Counts or Panel, a distance's reference, the task; **parameters) -> Value or Curve
    kinds: tuple[str, ...]  # the kinds of series it can be read from, the preferred first
    target: str = "column"  # what it is asked of: "column", "stream" or "task"
    tasks: tuple[str, ...] = ()  # of a task: the kinds of task that have it
    bins: bool = False  # whether it needs the bins, or tallies and sums will do
    series: str = ""  # of a task: the column of the series it is read from; {k} stands for a parameter
    curve: tuple[str, ...] = ()  # the columns by which it gives several values
    title: str = ""  # above a column, where its name is not used
    headline: int = 0  # of the metrics that tell the most of a kind of task, in which place it is; 0: it is none
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
        """The metric of some counts: a ``Value``, or a ``Curve`` where it has several."""
        if self.by_panel:
            return self.of_panel(Panel.of(counts), **parameters)[0]
        more = [*([reference] if self.distance else []), *([task] if self.of_task else [])]
        return self.function(counts, *more, **parameters)

    def of_panel(self, panel: Panel, **parameters: Parameter) -> list[Any]:
        """The metric of each row, of one that answers for many at once."""
        answers: list[Any] = self.function(panel, **parameters)
        return answers


@dataclasses.dataclass(frozen=True, slots=True)
class FromLog:
    """A metric that is a function of labels and predictions, read from the log whenever it is asked."""

    name: str
    function: Callable[[Any, Any], float]
    sample: int | None  # records that it is given at most
    target: ClassVar[str] = "task"
    parameters: ClassVar[Mapping[str, type]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ()
    series: ClassVar[str] = ""
    curve: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = ""
    bins: ClassVar[bool] = False
    distance: ClassVar[bool] = False


METRICS: dict[str, tuple[Additive, ...]] = {}  # by name; one may stand for several, each of other kinds of task


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
    """Declare a metric of some kinds of tasks or series; by its function's name, where no other is given.

    Above one function it may stand several times, each for a metric of another name. See ``Additive``.
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
    """What a metric's function is given, and its parameters."""

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
    """A parameter's type, which may be absent."""
    if isinstance(hint, types.UnionType):
        hint = next(of for of in typing.get_args(hint) if of is not types.NoneType)
    found: type = hint
    return found
