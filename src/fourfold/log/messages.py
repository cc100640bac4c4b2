"""The headers of messages from processes to a store, written and read in one place.

Each carries the number of its format. Messages of a newer fourfold are left for a version that understands them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fourfold.config.objectives import check_objective
from fourfold.config.tasks import check_task
from fourfold.errors import ConfigError, FourfoldError
from fourfold.model import Artifact, Objective, Run, RunStatus, Task

if TYPE_CHECKING:
    from fourfold.counts.binning import Binning
    from fourfold.fold import Plan

FORMAT = 2  # the newest that is understood
_FORMATS = {"records": 2}  # of the kinds that were written otherwise before: in format 1, each record had its place
_SHOWN = 100  # characters of a wrong value that an error shows
_LARGEST = 2**1023  # of whole numbers that are to be floats
_MOST_BITS = 20  # of a binning
Header = dict[str, Any]


class UnreadableMessageError(FourfoldError):
    """A message with an invalid header; it goes to quarantine."""


class NewerMessageError(FourfoldError):
    """A message in a format, or of a kind, that this version does not know; it stays in the inbox."""


@dataclasses.dataclass(frozen=True)
class Records:
    """Records for a stream's log; ``key`` and ``time`` are the names that these columns had.

    ``once`` names runs of its records, each by the first one's row and how many they are, that count once: sent again
    in another message under the same name, they are left out.
    """

    project: str
    stream: str
    key: str | None
    time: str | None
    once: tuple[tuple[str, int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Records that cannot be logged as they are; they go to quarantine."""

    project: str
    stream: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Dropped:
    """The total number of records that a process has dropped, as of a moment in seconds since 1970.

    Its messages are of the kind "rejected", so that an older fourfold keeps them as notes.
    """

    project: str
    host: str
    process: int
    records: int
    at: float
    why: str = ""  # what befell them: "they came faster than they could be written"


@dataclasses.dataclass(frozen=True)
class Counted:
    """The counts, by hour, of a frame that a run read or wrote, and the binnings and small integers they refer to."""

    project: str
    stream: str
    started: float  # of the run, in seconds since 1970
    binnings: Mapping[str, Binning]
    small: frozenset[str]
    identifiers: Mapping[str, int]  # and the text columns, with the event time from which each is an identifier


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs as they are now, in the order in which they were sent."""

    project: str
    runs: tuple[Run, ...]


@dataclasses.dataclass(frozen=True)
class Reported:
    """What is said of runs, a part at a time: it adds to what was said before (see ``Run.merged``)."""

    project: str
    runs: tuple[Run, ...]


@dataclasses.dataclass(frozen=True)
class Declared:
    """The declaration of a task; ``in_file``: in fourfold.toml, which counts where it is new or was changed there."""

    project: str
    task: Task
    in_file: bool = False


@dataclasses.dataclass(frozen=True)
class Aimed:
    """The declaration of an objective; or, without one, that the objective of this name is no longer wanted.

    ``in_file`` is that of ``Declared``.
    """

    project: str
    name: str
    objective: Objective | None
    in_file: bool = False


Content = Records | Rejected | Dropped | Counted | Runs | Reported | Declared | Aimed


def records(
    project: str, stream: str, key: str | None, time: str | None, once: Sequence[tuple[str, int, int]] = ()
) -> Header:
    """The header of ``Records``."""
    return _header("records", project, stream=stream, key=key, time=time, **({"once": list(once)} if once else {}))


def rejected(project: str, stream: str, reason: str) -> Header:
    """The header of ``Rejected``."""
    return _header("rejected", project, stream=stream, reason=reason)


def dropped(total: Dropped, reason: str) -> Header:
    """The header of ``Dropped``."""
    fields = {name: value for name, value in dataclasses.asdict(total).items() if name != "project"}
    return _header("rejected", total.project, stream="dropped", reason=reason, dropped=fields)


def counted(project: str, stream: str, run: Run, plan: Plan) -> Header:
    """The header of ``Counted``."""
    binnings = {name: dataclasses.astuple(plan.binning(name, 2**62)) for name in plan.binnings}
    return _header(
        "counts", project, stream=stream, started=run.started, binnings=binnings, small=sorted(plan.small),
        identifiers=dict(plan.identifiers),
    )  # fmt: skip


def run_text(run: Run) -> str:
    """A run as text, for ``runs``.

    Raises:
        TypeError, ValueError: JSON cannot hold it.
    """
    return json.dumps(dataclasses.asdict(run), default=str)


def runs(project: str, texts: Sequence[str]) -> Header:
    """The header of ``Runs``, each as ``run_text`` wrote it."""
    return _header("runs", project, runs=list(texts))


def reported(project: str, texts: Sequence[str]) -> Header:
    """The header of ``Reported``, each as ``run_text`` wrote it."""
    return _header("reported", project, runs=list(texts))


def task(project: str, definition: Task) -> Header:
    """The header of ``Declared``."""
    return _header("task", project, task=definition.to_json())


def objective(project: str, definition: Objective) -> Header:
    """The header of ``Aimed``."""
    return _header("objective", project, name=definition.name, objective=definition.to_json())


def of_file(project: str, tasks: Iterable[Task], objectives: Iterable[Objective]) -> Iterator[Header]:
    """The headers of what fourfold.toml declares (see ``Declared.in_file``)."""
    for one in tasks:
        yield {**task(project, one), "in_file": True}
    for aim in objectives:
        yield {**objective(project, aim), "in_file": True}


def no_objective(project: str, name: str) -> Header:
    """The header of ``Aimed`` that withdraws an objective."""
    return _header("objective", project, name=name, objective=None)


def decode(header: Mapping[str, Any]) -> Content:
    """What a header says.

    Raises:
        NewerMessageError: the format or the kind is of a newer version.
        UnreadableMessageError: a field is missing, unknown or of another type.
    """
    try:
        clean = encodable(header)
    except RecursionError as error:
        raise UnreadableMessageError("the message is nested too deep") from error
    if not isinstance(clean, dict) or not isinstance(clean.get("kind"), str):
        raise UnreadableMessageError("the message does not name its kind")
    kind, number = clean["kind"], clean.get("format", 0)
    if kind not in _DECODERS or (isinstance(number, int) and number > FORMAT):
        raise NewerMessageError(f"a message of kind {kind!r} in format {number} is unknown; upgrade fourfold")
    try:
        return _DECODERS[kind](clean)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UnreadableMessageError(f"a message of kind {kind!r}: {type(error).__name__}: {error}") from error


def apart(header: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The headers of a message of several runs with one run each, so that one of them costs no other; else itself.

    >>> [part["runs"] for part in apart({"kind": "runs", "runs": ["{}", 5]})]
    [['{}'], [5]]
    """
    several = header.get("runs") if isinstance(header, dict) and header.get("kind") in ("runs", "reported") else None
    return [{**header, "runs": [run]} for run in several] if isinstance(several, list) else [header]


def _header(kind: str, project: str, **fields: Any) -> Header:
    return {"format": _FORMATS.get(kind, 1), "kind": kind, "project": project, **fields}


def _text(header: Mapping[str, Any], name: str) -> str:
    if not isinstance(header[name], str) or not header[name]:
        raise TypeError(f"{name}={_shown(header[name])} is not a text")
    return str(header[name])


def _name(header: Mapping[str, Any], name: str) -> str | None:
    return None if header.get(name) is None else _text(header, name)


def _number(header: Mapping[str, Any], name: str) -> float:
    value = header[name]
    if not _is_number(value) or not math.isfinite(value):
        raise TypeError(f"{name}={_shown(value)} is not a finite number")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < _LARGEST)


def _whole(header: Mapping[str, Any], name: str, most: int = 2**63 - 1) -> int:
    value = header[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise TypeError(f"{name}={_shown(value)} is not a whole number from 0 to {most}")
    return value


def _any_text(header: Mapping[str, Any], name: str) -> str:
    if not isinstance(header[name], str):
        raise TypeError(f"{name}={_shown(header[name])} is not a text")
    return str(header[name])


def _object(header: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(header[name], dict):
        raise TypeError(f"{name}={_shown(header[name])} is not an object")
    found: dict[str, Any] = header[name]
    return found


def _metrics(header: Mapping[str, Any], name: str) -> dict[str, float]:
    for metric, value in _object(header, name).items():
        if not _is_number(value):
            raise TypeError(f"{name}: {_shown(metric)}={_shown(value)} is not a number")
    return _object(header, name)


def _direction(header: Mapping[str, Any], name: str) -> str:
    if header[name] not in ("input", "output"):
        raise ValueError(f"{name}={_shown(header[name])} is neither input nor output")
    return str(header[name])


def _or_none(read: Callable[[Mapping[str, Any], str], Any]) -> Callable[[Mapping[str, Any], str], Any]:
    return lambda header, name: None if header[name] is None else read(header, name)


def _shown(value: object) -> str:
    """A wrong value, of whatever length, as an error shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _rejected(header: Mapping[str, Any]) -> Rejected | Dropped:
    if (fields := header.get("dropped")) is None:
        return Rejected(_text(header, "project"), _text(header, "stream"), _text(header, "reason"))
    return Dropped(
        _text(header, "project"), _text(fields, "host"), _whole(fields, "process"), _whole(fields, "records"),
        _number(fields, "at"), _text(fields, "why") if fields.get("why") else "",  # none in the first ones
    )  # fmt: skip


def _counted(header: Mapping[str, Any]) -> Counted:
    from fourfold.counts.binning import Binning  # who only sends does without

    binnings = {name: _binning(Binning(*fields), name) for name, fields in header["binnings"].items()}
    small = frozenset(map(str, header["small"]))
    identifiers = {name: int(start) for name, start in header.get("identifiers", {}).items()}  # none in the first ones
    return Counted(
        _text(header, "project"), _text(header, "stream"), _number(header, "started"), binnings, small, identifiers
    )  # fmt: skip


def _binning(found: Binning, name: str) -> Binning:
    """The same, if it can be used."""
    fields = dataclasses.asdict(found)
    _number(fields, "centre")
    if _number(fields, "scale") <= 0:
        raise ValueError(f"binnings: {_shown(name)} has a scale that is not positive")
    _whole(fields, "bits", _MOST_BITS)
    _whole(fields, "version")
    return found


def _runs(header: Mapping[str, Any], several: Sequence[Mapping[str, Any]]) -> Runs:
    return Runs(_text(header, "project"), tuple(map(_run, several)))


def _run(written: Mapping[str, Any]) -> Run:
    read = {name: _OF_RUN[name](written, name) if name in _OF_RUN else value for name, value in written.items()}
    return Run(**read)


def _artifact(written: Mapping[str, Any]) -> Artifact:
    read = {name: _OF_ARTIFACT[name](written, name) if name in _OF_ARTIFACT else v for name, v in written.items()}
    return Artifact(**read)


def _task(text: str) -> Task:
    found = Task.from_json(json.dumps(encodable(json.loads(text))))
    check_task(found)
    return found


def _aimed(header: Mapping[str, Any]) -> Aimed:
    text = header["objective"]
    found = None if text is None else Objective.from_json(json.dumps(encodable(json.loads(text))))
    if found is not None:
        check_objective(found)
        if found.name != header["name"]:
            raise ValueError(f"name={_shown(header['name'])} is not that of its objective, {_shown(found.name)}")
    return Aimed(_text(header, "project"), _text(header, "name"), found, bool(header.get("in_file")))


_OF_RUN: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
    "id": _text, "component": _text, "status": lambda run, name: RunStatus(run[name]), "started": _number,
    "ended": _or_none(_number), "at": _or_none(_number), "seen": _or_none(_number), "parent": _or_none(_any_text),
    "host": _any_text, "process": lambda run, name: _whole(run, name, 2**31 - 1), "error": _or_none(_any_text),
    "code": _object, "params": _object, "metrics": _metrics,
    "artifacts": lambda run, name: tuple(map(_artifact, run[name])),
}  # fmt: skip
_OF_ARTIFACT: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
    # older versions sent a name as it was given, whatever it was
    "name": lambda artifact, name: artifact[name] if isinstance(artifact[name], str) else json.dumps(artifact[name]),
    "direction": _direction, "kind": _any_text, "fingerprint": _any_text, "rows": _or_none(_whole),
    "details": _object,
}  # fmt: skip
_DECODERS: dict[str, Callable[[Mapping[str, Any]], Content]] = {
    "records": lambda h: Records(
        _text(h, "project"),
        _text(h, "stream"),
        _name(h, "key"),
        _name(h, "time"),
        tuple((str(name), int(first), int(rows)) for name, first, rows in h.get("once", ())),
    ),
    "rejected": _rejected,
    "counts": _counted,
    "run": lambda h: _runs(h, [h["run"]]),  # as older versions sent it, two for each run
    "runs": lambda h: _runs(h, [encodable(json.loads(text)) for text in h["runs"]]),
    "reported": lambda h: Reported(_text(h, "project"), tuple(_run(encodable(json.loads(text))) for text in h["runs"])),
    "task": lambda h: Declared(_text(h, "project"), _task(h["task"]), bool(h.get("in_file"))),
    "objective": _aimed,
}


def encodable(value: Any) -> Any:
    """The same with every text such that UTF-8 can hold it: a file's name or an error may have lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {encodable(name): encodable(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encodable(entry) for entry in value]
    return value
