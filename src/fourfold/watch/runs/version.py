"""The version that is served, by a task's version column, against the one that is declared to be.

``[watch.expects."late"] version = "..."`` declares it: a version as it is logged; ``run:train:version``, a parameter of
the newest successful run of a component; or ``mlflow:models:/late@champion``, an alias in an MLflow registry.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from fourfold import counts
from fourfold.errors import ConfigError, let_end
from fourfold.expectations import expectations
from fourfold.model import EVERYTHING, HOUR, Owner, RunStatus, Task
from fourfold.model.incident import Finding, Group, Severity, Where
from fourfold.query.counts import CurrentCounts
from fourfold.query.reader import Reader
from fourfold.state import catalogue, runs

_FEW = 0.05  # share of the records: a model that is being exchanged, or one of a trial
_BACK = 14 * 24  # hours
Hours = Sequence[tuple[int, Mapping[str, int]]]  # the start of each, and how many records each version had


class _UnknownError(Exception):
    """A version that cannot be looked up now."""


def versions(reader: Reader, now: float, expects: Mapping[str, Any]) -> list[Finding]:
    """Tasks whose newest predictions are of another version than the declared one.

    Raises:
        ConfigError: a declaration is invalid, or its task has no version column.
    """
    found = []
    for name, task in reader.recall(catalogue.tasks).items():
        what = f'fourfold.toml, [watch.expects."{name}"]'
        declared = expectations(expects.get(name, {}), what).get("version")
        if declared is None:
            continue
        if not task.version:
            raise ConfigError(f"{what}: version={declared!r}: the task declares no version= column")
        try:
            wanted = _looked_up(reader, declared, what)
        except _UnknownError as error:
            found.append(_told(task, now, now, Severity.NOTICE, f"the version to serve is unknown: {error}"))
            continue
        if (finding := wrong_version(task, wanted, _served(reader, task, now))) is not None:
            found.append(finding)
    return found


def wrong_version(task: Task, wanted: str, hours: Hours) -> Finding | None:
    """Whether the newest hour's predictions are of the version that is wanted, all but a few."""
    wrong = list(itertools.takewhile(lambda hour: _share(hour[1], wanted) > _FEW, reversed(hours)))
    if not wrong:
        return None
    (last, served), first = wrong[0], wrong[-1][0]
    most = max((version for version in served if version != wanted), key=lambda version: served[version])
    share = _share(served, wanted)
    said = f"serves version {most!r} in {share:.0%} of its predictions, instead of {wanted!r}"
    severity = Severity.PAGE if share > 0.5 else Severity.TICKET
    return _told(task, float(first), float(last + HOUR), severity, said, share, sum(served.values()))


def _share(served: Mapping[str, int], wanted: str) -> float:
    whole = sum(served.values())
    return 1 - served.get(wanted, 0) / whole if whole > 0 else 0.0


def _told(
    task: Task, began: float, seen: float, severity: Severity, said: str, value: float | None = None, n: int = 0
) -> Finding:
    where = Where(stream=task.prediction.stream, column=task.version, task=task.name)
    return Finding(
        f"task:{task.name}:wrong_model", "wrong_model", f"{task.name} {said}", Group.STATELESS_CROSS, severity, where,
        began=began, began_low=began, began_high=began + HOUR, seen=seen, value=value, expected=0.0, high=_FEW, n=n,
        weight=1.0 + 10 * (value or 0.0),
    )  # fmt: skip


def _served(reader: Reader, task: Task, now: float) -> Hours:
    """How many of the newest predictions were of each version, by hour."""
    owner = Owner.of_stream(task.prediction.stream)
    source = CurrentCounts(reader, owner)
    wanted = [e for e in source.series() if (e.column, e.kind, e.slice) == (task.version, "category", EVERYTHING)]
    end = int(now) + 1
    table = source.counts(wanted, HOUR, end - _BACK * HOUR, end) if wanted else None
    if table is not None and not table.num_rows and (span := source.span(HOUR)) is not None:  # data of long ago
        table = source.counts(wanted, HOUR, span[1] - _BACK * HOUR, min(span[1] + 1, end))
    if table is None:
        return []
    hours: dict[int, dict[str, int]] = {}
    for bucket, counted in zip(table["bucket"].to_pylist(), counts.rows(table, {}), strict=True):
        hour = hours.setdefault(bucket, {})
        for label, n in zip(counted.labels, counted.counts.tolist(), strict=True):
            hour[label] = hour.get(label, 0) + n
    return sorted(hours.items())


def _looked_up(reader: Reader, declared: str, what: str) -> str:
    kind, _, rest = declared.partition(":")
    if kind == "mlflow" and rest.startswith("models:/"):
        return _of_mlflow(rest, what)
    if kind == "run" and rest.count(":") == 1:
        return _of_run(reader, *rest.split(":"))
    return declared


def _of_run(reader: Reader, component: str, name: str) -> str:
    with reader.database.read() as connection:
        found = runs.recent(connection, reader.project, component, 100)
    for run in found:
        if run.status is RunStatus.SUCCEEDED:
            if name not in run.params:
                raise _UnknownError(f"the newest run of {component!r} has no parameter {name!r}")
            return str(run.params[name])
    raise _UnknownError(f"no run of {component!r} has succeeded")


def _of_mlflow(address: str, what: str) -> str:
    """The version that an alias of a registered model names, such as ``models:/late@champion``."""
    name, _, alias = address.removeprefix("models:/").partition("@")
    if not name or not alias:
        raise ConfigError(f"{what}: version='mlflow:{address}': give an alias, such as 'mlflow:models:/late@champion'")
    try:
        from mlflow import MlflowClient

        return str(MlflowClient().get_model_version_by_alias(name, alias).version)
    except BaseException as error:  # not installed, not reachable, no such alias
        let_end(error)
        raise _UnknownError(f"{address}: {type(error).__name__}: {str(error)[:200]}") from error
