"""Records as they are, in JSON: for a process without NumPy and Arrow. The collector makes columns of them.

JSON has no moments, no bytes, no NaN: such a value is an object with one name, its type, as in
``{"$date": "2024-01-01"}``. A value of another class cannot be logged, and goes to quarantine as text.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import gzip
import json
import math
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from fourfold.errors import InputError, let_end
from fourfold.model import Artifact, Plausible, Run
from fourfold.model.given import DEEPEST, check_key, check_named, is_of_pandas, name_text, unique_names
from fourfold.sdk.form import Batch, Frames, in_parts
from fourfold.sdk.host import error_text, shown, summary
from fourfold.sdk.record import Record
from fourfold.sdk.rows import reader_of, records_in

_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


@dataclasses.dataclass(frozen=True)
class Rows:
    """Records, each as JSON."""

    texts: tuple[str, ...]
    bounds: tuple[int, int] = (0, 0)  # of plausible times: the earliest, and how far ahead

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return len(self.texts)

    @property
    def nbytes(self) -> int:
        """How many bytes they take, about."""
        return sum(map(len, self.texts))


class Plain:
    """See ``Form``."""

    suffix = ".json"
    encoding = "gzip"
    together = 1_000  # few, as what waits are Python's objects, and a message is one text

    @property
    def frames(self) -> Frames:
        """See ``Form``."""
        return _NoFrames()

    def of_data(
        self, data: Any, key: str | Sequence[str] | None, time: str | None, logged: int, run: str | None,
        times: Plausible,
    ) -> list[Batch]:  # fmt: skip
        """See ``Form``."""
        rows = records_in(data)
        if rows is None:
            raise InputError(
                f"data is a {type(data).__name__}; fourfold-client takes a pandas, Polars or PyArrow frame, a dict, or "
                "a list of dicts; fourfold takes more"
            )
        names = list(dict.fromkeys(name_text(name) for row in rows for name in row))
        check_named(key, time, names)
        marked = None if run is None else _RunId(run)
        return self.of_records([Record("", row, {}, key, time, logged, marked) for row in rows], times)

    def of_records(self, records: Sequence[Record], times: Plausible) -> list[Batch]:
        """See ``Form``."""
        good: list[str] = []
        found: list[Batch] = []
        aside: list[str] = []
        reasons: list[str] = []
        for record in records:
            try:
                good.append(json.dumps(written(record), allow_nan=False, separators=(",", ":")))
            except BaseException as error:
                let_end(error)
                row = {**(record.data or {}), **record.fields}
                reasons.append(error_text(error))
                aside.append(json.dumps({"record": shown(row), "key": shown(record.key), "reason": reasons[-1]}))
        if aside:
            found.append(Batch(Rows(tuple(aside)), None, None, 0, InputError(summary(reasons))))
        if good:
            found.append(Batch(Rows(tuple(good), (times.earliest, times.ahead)), None, None, 0))
        return found

    def kept(self, data: Any) -> Rows:
        """See ``Form``."""
        return Rows((json.dumps({"data": shown(data)}),))

    def parts(self, payload: Rows, nbytes: int) -> Sequence[Rows]:
        """See ``Form``."""
        return [dataclasses.replace(payload, texts=tuple(part)) for part in in_parts(payload.texts, nbytes)]

    def write(self, file: BinaryIO, header: Mapping[str, Any], payload: Rows | None) -> None:
        """See ``Form``."""
        head = json.dumps({**header, "times": payload.bounds} if payload is not None else dict(header), default=str)
        records = "" if payload is None else f',"records":[{",".join(payload.texts)}]'
        file.write(f'{{"header":{head}{records}}}'.encode())

    def compressed(self, content: bytes) -> bytes:
        """See ``Form``."""
        return gzip.compress(content, compresslevel=1)


class _RunId:
    def __init__(self, id_: str) -> None:
        self.id = id_


class _NoFrames:
    """Frames of runs are not counted here: only that there was one, and its number of records, is recorded."""

    def found(self, value: Any) -> Any:
        """See ``Frames``."""
        return value if hasattr(type(value), "columns") and reader_of(value) is not None else None

    def names_of(self, frame: Any) -> list[str]:
        """See ``Frames``."""
        return [name_text(name) for name in frame.columns]

    def recorded(
        self, session: Any, run: Run, direction: str, name: str, frame: Any, time: str | None, by: Sequence[str],
        share: float | None,
    ) -> tuple[Artifact, None]:  # fmt: skip
        """See ``Frames``."""
        session.warn(
            "fourfold-client does not count the frames of runs: only their number of records is recorded; install "
            "fourfold where they are to be watched"
        )
        return Artifact(name, direction, "frame", f"frame:{uuid.uuid4().hex}", len(frame)), None


def written(record: Record) -> list[Any]:
    """A record as values that JSON has; ``fourfold.serve.collector.plain`` reads it.

    Raises:
        InputError: a value is nested too deep, or is of a class that cannot be sent.
    """
    key, time, data = record.key, record.time, None
    if record.data is not None:  # key and time name fields of the data
        special = {name: write for name, write in ((time, _time), (key, _key)) if isinstance(name, str)}
        named = [(name_text(name), value) for name, value in record.data.items()]
        data = {name: special.get(name, _value)(value) for name, value in named}
    fields = {name_text(name): _value(value) for name, value in record.fields.items()}
    run = None if record.run is None else record.run.id
    return [data, fields, _key(key), _time(time), record.logged, run]


def _value(value: Any, depth: int = 0) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if depth > DEEPEST:
        raise InputError(f"a value is nested more than {DEEPEST} deep, or contains itself")
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, enum.Enum):
        return _value(value.value, depth + 1)
    if isinstance(value, Mapping):
        names = unique_names([name_text(name) for name in value])
        found = {n: _value(v, depth + 1) for n, v in zip(names, value.values(), strict=True)} or None
        return {"$map": found} if found and any(name.startswith("$") for name in found) else found
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_value(entry, depth + 1) for entry in value]
    for kind, write in _WRITTEN.items():
        if isinstance(value, kind):
            return write(value)
    return _of_numpy(value, depth)


def _of_numpy(value: Any, depth: int) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        of_time = value.dtype.kind in "mM"  # of which lists may have numbers
        return [_value(entry, depth + 1) for entry in (value if of_time else value.tolist())]
    if numpy is not None and isinstance(value, (numpy.datetime64, numpy.timedelta64)):
        return _numpy_moment(numpy, value)
    if numpy is not None and isinstance(value, numpy.generic):
        return _value(value.item(), depth + 1)
    if is_of_pandas(value, "Period", "Interval"):
        return str(value)
    raise InputError(f"a {type(value).__name__} is no value that can be logged: {shown(value)[:200]}")


def _numpy_moment(numpy: Any, value: Any) -> Any:
    if isinstance(value, numpy.timedelta64):
        return _value(value.astype("timedelta64[us]").item())
    return None if numpy.isnat(value) else {"$datetime64": str(value.astype("datetime64[us]"))}


def _moment(value: dt.datetime) -> dict[str, str]:
    fields = value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    return {"$datetime": dt.datetime(*fields, tzinfo=value.tzinfo, fold=value.fold).isoformat()}


def _bytes(value: bytes | bytearray | memoryview) -> dict[str, str]:
    return {"$bytes": base64.b64encode(bytes(value)).decode()}


_WRITTEN: dict[type, Callable[[Any], Any]] = {  # a subclass before its class
    bool: bool,
    str: str.__str__,
    int: int,
    float: lambda value: _value(float(value)),
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    dt.datetime: _moment,
    dt.date: lambda value: {"$date": value.isoformat()},
    dt.time: lambda value: {"$time": value.isoformat()},
    dt.timedelta: lambda value: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    decimal.Decimal: lambda value: {"$decimal": str(value)},
    uuid.UUID: str,
}


def _key(key: Any, depth: int = 0) -> Any:
    """A part of a key, which becomes text: what is no plain value is text already."""
    if isinstance(key, (tuple, list)):
        check_key(depth)
        return [_key(part, depth + 1) for part in key]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(key, numpy.ndarray):
        return str(key.tolist())
    return _scalar(key) if _is_scalar(key) else str(key)


def _time(time: Any) -> Any:
    """A moment; what is none is kept as it is shown here."""
    if is_of_pandas(time, "Period"):
        time = time.start_time
    is_moment = _is_scalar(time) and not isinstance(time, (bytes, bytearray, memoryview))
    return _scalar(time) if is_moment else {"$shown": shown(time)}


def _scalar(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    of_time = numpy is not None and isinstance(value, (numpy.datetime64, numpy.timedelta64))
    return _numpy_moment(numpy, value) if of_time else _value(value)


def _is_scalar(value: Any) -> bool:
    """Whether a value is one that a key or a moment can be made of otherwise than by its text."""
    if type(value) in _AS_THEY_ARE or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (enum.Enum, uuid.UUID)):
        return False
    numpy = sys.modules.get("numpy")
    return isinstance(value, tuple(_WRITTEN)) or (numpy is not None and isinstance(value, numpy.generic))
