"""OpenLineage 2-0-2 events as runs: https://openlineage.io/spec/2-0-2/OpenLineage.json

A job is a component, named by its namespace and name; a run of it is a run, whose events add up in whatever order they
come. Datasets that it reads and writes are artifacts, so that jobs are linked by what they share; numbers that facets
give of datasets and their columns are metrics of the run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fourfold.errors import InputError
from fourfold.model import Artifact, Run, RunStatus
from fourfold.sdk.times import micros_of

MOST_METRICS = 20_000  # of a run
LONGEST_TEXT = 100_000  # characters of an error
_STATUS = {"COMPLETE": RunStatus.SUCCEEDED, "FAIL": RunStatus.FAILED, "ABORT": RunStatus.FAILED}
_GOING = ("START", "RUNNING", "OTHER", None)
_OF_DATASET = {"rowCount": "rows", "bytes": "bytes", "size": "bytes", "fileCount": "files"}
_OF_COLUMN = {
    "nullCount": "null_count", "distinctCount": "distinct", "sum": "sum", "count": "count", "min": "min", "max": "max",
}  # fmt: skip
_STATISTICS = ("dataQualityMetrics", "inputStatistics", "outputStatistics")
_YEARS = (-62_135_596_800.0, 253_402_300_800.0)  # the years 1 to 9999, in seconds since 1970


def run_of(event: Any) -> Run | None:
    """What an event says of a run; None for one about a job or a dataset alone.

    >>> run_of({"eventType": "COMPLETE", "eventTime": "2024-05-01T12:00:00Z", "run": {"runId": "1"},
    ...         "job": {"namespace": "etl", "name": "load"}}).component
    'etl/load'

    Raises:
        InputError: it is no event of OpenLineage.
    """
    if not isinstance(event, dict):
        raise InputError(f"an event is an object, and not {type(event).__name__}")
    if "run" not in event:
        if "job" in event or "dataset" in event:
            return None
        raise InputError("the event is about no run, job or dataset: it has none of these fields")
    kind = event.get("eventType")
    if kind not in _STATUS and kind not in _GOING:
        raise InputError(f"eventType={kind!r}: give one of START, RUNNING, {', '.join(_STATUS)}, OTHER")
    run, job, at = _object(event, "run"), _object(event, "job"), moment(event.get("eventTime"), "eventTime")
    facets, of_job = _facets(run), _facets(job)
    status = _STATUS.get(kind, RunStatus.RUNNING)
    return Run(
        id=_text(run, "runId", "run."),
        component=_name(job, "job."),
        status=status,
        started=at,
        ended=None if status is RunStatus.RUNNING else at,
        at=_nominal(facets),
        parent=_parent(facets),
        error=_error(facets, kind),
        code=dict(_code(facets, of_job)),
        metrics=_first(_metrics(event)),
        artifacts=tuple(_artifacts(event)),
    )


def _nominal(facets: Mapping[str, Any]) -> float | None:
    """The logical time; None where it is left out, or is none."""
    try:
        return moment(facets["nominalTime"]["nominalStartTime"], "nominalStartTime")
    except (KeyError, TypeError, InputError):
        return None


def moment(value: Any, field: str) -> float:
    """A moment in seconds since 1970.

    Raises:
        InputError: it is none.
    """
    try:
        micros = micros_of(value)
        if micros is None or not _YEARS[0] <= micros / 1e6 < _YEARS[1]:
            raise ValueError("it lies outside of the years 1 to 9999")
        return micros / 1e6
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{field}={value!r} is no moment; give a text such as '2024-05-01T12:00:00Z'") from error


def _parent(facets: Mapping[str, Mapping[str, Any]]) -> str | None:
    run = facets.get("parent", {}).get("run")
    found = run.get("runId") if isinstance(run, dict) else None
    return found if isinstance(found, str) and found else None


def _error(facets: Mapping[str, Mapping[str, Any]], kind: str | None) -> str | None:
    told = facets.get("errorMessage", {})
    texts = [text for name in ("message", "stackTrace") if isinstance(text := told.get(name), str) and text]
    if texts:
        return "\n".join(texts)[:LONGEST_TEXT]
    return "it was aborted" if kind == "ABORT" else None


def _code(
    facets: Mapping[str, Mapping[str, Any]], of_job: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Any]]:
    """Which code ran, as far as it is told."""
    for facet, field in (("sourceCode", "sourceCode"), ("sql", "query")):
        if isinstance(source := of_job.get(facet, {}).get(field), str):
            yield "source_hash", hashlib.blake2b(source.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    place = of_job.get("sourceCodeLocation", {})
    for field, name in (("version", "commit"), ("branch", "branch"), ("url", "url")):
        if isinstance(value := place.get(field), str):
            yield name, value
    engine = facets.get("processing_engine", {})
    if isinstance(version := engine.get("version"), str):
        yield "packages", {str(engine.get("name") or "engine"): version}
    kinds = [str(value) for value in of_job.get("jobType", {}).values() if isinstance(value, str)]
    if kinds:
        yield "kind", " ".join(kind for kind in kinds if "://" not in kind)


def _datasets(event: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The direction and the name of each dataset, and itself."""
    for field, direction in (("inputs", "input"), ("outputs", "output")):
        listed = event.get(field)
        if listed is None:
            continue
        if not isinstance(listed, list):
            raise InputError(f"{field}: give an array of datasets")
        for dataset in listed:
            if not isinstance(dataset, dict):
                raise InputError(f"{field}: a dataset is an object, and not {type(dataset).__name__}")
            yield direction, _name(dataset, f"{field}."), dataset


def _artifacts(event: Mapping[str, Any]) -> Iterator[Artifact]:
    for direction, name, dataset in _datasets(event):
        facets = _all_facets(dataset)
        rows = [_whole(facets.get(facet, {}).get("rowCount")) for facet in _STATISTICS]
        details: dict[str, Any] = {}
        if fields := _fields(facets.get("schema", {})):
            details["fields"] = fields
        if isinstance(version := facets.get("version", {}).get("datasetVersion"), str):
            details["version"] = version
        if columns := _column_lineage(facets.get("columnLineage", {})):
            details["column_lineage"] = columns
        known = [count for count in rows if count is not None]
        yield Artifact(name, direction, "dataset", f"dataset:{name}", known[0] if known else None, details)


def _fields(schema: Mapping[str, Any]) -> dict[str, str]:
    listed = schema.get("fields")
    return {
        str(field["name"]): str(field.get("type") or "")
        for field in (listed if isinstance(listed, list) else ())
        if isinstance(field, dict) and isinstance(field.get("name"), str)
    }


def _column_lineage(facet: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {}
    for column, told in _items(facet.get("fields")):
        sources = told.get("inputFields") if isinstance(told, dict) else None
        named = [
            f"{source.get('namespace')}/{source.get('name')}.{source.get('field')}"
            for source in (sources if isinstance(sources, list) else ())
            if isinstance(source, dict)
        ]
        if named:
            found[column] = named
    return found


def _metrics(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers that facets give: of datasets as "etl/flights.rows", of columns as "etl/flights.delay.null_count"."""
    for _, name, dataset in _datasets(event):
        facets = _all_facets(dataset)
        for facet in _STATISTICS:
            told = facets.get(facet, {})
            yield from _numbers(name, told, _OF_DATASET)
            rows = _number(told.get("rowCount"))
            for column, of_column in _items(told.get("columnMetrics")):
                if not isinstance(of_column, dict):
                    continue
                yield from _numbers(f"{name}.{column}", of_column, _OF_COLUMN)
                nulls = _number(of_column.get("nullCount"))
                if rows and nulls is not None:
                    yield f"{name}.{column}.null_rate", nulls / rows
                for quantile, value in _items(of_column.get("quantiles")):
                    if (number := _number(value)) is not None:
                        yield f"{name}.{column}.quantile({quantile})", number
        checks = facets.get("dataQualityAssertions", {}).get("assertions")
        for check in checks if isinstance(checks, list) else ():
            if isinstance(check, dict) and isinstance(passed := check.get("success"), bool):
                column = f".{check['column']}" if isinstance(check.get("column"), str) else ""
                yield f"{name}{column}.{check.get('assertion')}", float(passed)


def _numbers(of: str, told: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for field, name in names.items():
        if (number := _number(told.get(field))) is not None:
            yield f"{of}.{name}", number


def _first(metrics: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in metrics:
        if len(found) < MOST_METRICS or name in found:
            found[name] = value
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _facets(entity: Mapping[str, Any], field: str = "facets") -> dict[str, Mapping[str, Any]]:
    """The facets that are objects; what else stands there is nobody's."""
    return {name: facet for name, facet in _items(entity.get(field)) if isinstance(facet, dict)}


def _all_facets(dataset: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A dataset's facets, with those of its part in this run."""
    return {**_facets(dataset), **_facets(dataset, "inputFacets"), **_facets(dataset, "outputFacets")}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    return iter(value.items() if isinstance(value, dict) else ())


def _object(event: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    if not isinstance(found := event.get(field), dict):
        raise InputError(f"{field}={found!r}: the event has to have this object")
    return found


def _name(entity: Mapping[str, Any], where: str) -> str:
    return f"{_text(entity, 'namespace', where)}/{_text(entity, 'name', where)}"


def _text(entity: Mapping[str, Any], field: str, where: str) -> str:
    if not isinstance(found := entity.get(field), str) or not found:
        raise InputError(f"{where}{field}={found!r}: it has to be a text that is not empty")
    return found
