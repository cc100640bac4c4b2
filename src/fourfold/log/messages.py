"""The headers of messages from processes to a store, written and read in one place.

Each carries the number of its format. Messages of a newer fourfold are left for a version that understands them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fourfold.errors import FourfoldError
from fourfold.model import Artifact, Objective, Run, RunStatus, Task

if TYPE_CHECKING:
    from fourfold.counts.binning import Binning
    from fourfold.fold import Plan

FORMAT = 1
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
    clean = _encodable(header)
    if not isinstance(clean, dict) or not isinstance(clean.get("kind"), str):
        raise UnreadableMessageError("the message does not name its kind")
    kind, number = clean["kind"], clean.get("format", 0)
    if kind not in _DECODERS or (isinstance(number, int) and number > FORMAT):
        raise NewerMessageError(f"a message of kind {kind!r} in format {number} is unknown; upgrade fourfold")
    try:
        return _DECODERS[kind](clean)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableMessageError(f"a message of kind {kind!r}: {type(error).__name__}: {error}") from error


def _header(kind: str, project: str, **fields: Any) -> Header:
    return {"format": FORMAT, "kind": kind, "project": project, **fields}


def _text(header: Mapping[str, Any], name: str) -> str:
    if not isinstance(header[name], str) or not header[name]:
        raise TypeError(f"{name}={header[name]!r} is not a text")
    return str(header[name])


def _name(header: Mapping[str, Any], name: str) -> str | None:
    return None if header.get(name) is None else _text(header, name)


def _rejected(header: Mapping[str, Any]) -> Rejected | Dropped:
    if (fields := header.get("dropped")) is None:
        return Rejected(_text(header, "project"), _text(header, "stream"), _text(header, "reason"))
    host, process, records, at = _text(fields, "host"), fields["process"], fields["records"], fields["at"]
    return Dropped(_text(header, "project"), host, int(process), int(records), float(at))


def _counted(header: Mapping[str, Any]) -> Counted:
    from fourfold.counts.binning import Binning  # who only sends does without

    binnings = {name: Binning(*fields) for name, fields in header["binnings"].items()}
    small = frozenset(map(str, header["small"]))
    identifiers = {name: int(start) for name, start in header.get("identifiers", {}).items()}  # none in the first ones
    return Counted(
        _text(header, "project"), _text(header, "stream"), float(header["started"]), binnings, small, identifiers
    )  # fmt: skip


def _runs(header: Mapping[str, Any], several: Sequence[Mapping[str, Any]]) -> Runs:
    return Runs(_text(header, "project"), tuple(map(_run, several)))


def _run(written: Mapping[str, Any]) -> Run:
    fields = dict(written)
    fields["status"] = RunStatus(fields["status"])
    fields["artifacts"] = tuple(Artifact(**artifact) for artifact in fields["artifacts"])
    for name in ("id", "component"):
        _text(fields, name)
    return Run(**fields)


def _task(text: str) -> Task:
    return Task.from_json(json.dumps(_encodable(json.loads(text))))


def _aimed(header: Mapping[str, Any]) -> Aimed:
    text = header["objective"]
    found = None if text is None else Objective.from_json(json.dumps(_encodable(json.loads(text))))
    return Aimed(_text(header, "project"), _text(header, "name"), found, bool(header.get("in_file")))


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
    "runs": lambda h: _runs(h, [_encodable(json.loads(text)) for text in h["runs"]]),
    "reported": lambda h: Reported(
        _text(h, "project"), tuple(_run(_encodable(json.loads(text))) for text in h["runs"])
    ),
    "task": lambda h: Declared(_text(h, "project"), _task(h["task"]), bool(h.get("in_file"))),
    "objective": _aimed,
}


def _encodable(value: Any) -> Any:
    """The same with every text such that UTF-8 can hold it: a file's name or an error may have lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_encodable(name): _encodable(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(entry) for entry in value]
    return value
