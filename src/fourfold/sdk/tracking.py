"""Runs of components while they last. ``ff.run`` starts one, and so does each call of a component."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import time as clock
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fourfold.errors import ConfigError, FourfoldError, InputError, let_end
from fourfold.model import Artifact, Run, RunStatus
from fourfold.model.given import name_text
from fourfold.model.time import seconds
from fourfold.sdk import fingerprint
from fourfold.sdk.code import code_version
from fourfold.sdk.host import guarded, shown
from fourfold.sdk.session import current_run, session

_OUR_OWN = (os.path.dirname(__file__), contextlib.__file__)  # left out at the start of a traceback


class Tracked:
    """A run while it lasts: record what it reads, writes and measures. Made by ``ff.run`` and ``@ff.component``.

    A run is sent when it ends, or once it has lasted a fraction of a second, or when ``ff.flush`` is called.
    """

    def __init__(
        self,
        component: str,
        params: Mapping[str, Any],
        at: float | None,
        code: Mapping[str, Any],
        share: float | None = None,
    ) -> None:
        self._session = session()
        self._frames = self._session.sender.form.frames
        self._record = Run(
            id=uuid.uuid4().hex,
            component=component,
            status=RunStatus.RUNNING,
            started=clock.time(),
            at=at,
            host=socket.gethostname(),
            process=os.getpid(),
            code=code,
            params=params,
        )
        self._share = share
        self._artifacts: dict[tuple[str, str], Artifact] = {}
        self._metrics: dict[str, float] = {}
        self.keeps_profiles, self.profiles = False, dict[str, Any]()  # of its outputs, for who checks them
        self._token: Any = None

    @property
    def id(self) -> str:
        """The run's identity, which its log records carry."""
        return self._record.id

    @property
    def at(self) -> float:
        """The logical time, else when it started, in seconds since 1970."""
        return self._record.started if self._record.at is None else self._record.at

    @property
    def started(self) -> float:
        """When the run started, in seconds since 1970."""
        return self._record.started

    @guarded
    def input(self, name: str, value: Any, *, time: str | None = None, by: Sequence[str] = ()) -> None:
        """Record what the run reads: a dataframe, a file's path, or a model.

        A dataframe is counted in place, also by the columns of ``by``, at the run's time or at the times in the column
        ``time``; only the counts travel.
        """
        self._add("input", name, value, time, by)

    @guarded
    def output(self, name: str, value: Any, *, time: str | None = None, by: Sequence[str] = ()) -> None:
        """Record what the run writes; see ``input``."""
        self._add("output", name, value, time, by)

    @guarded
    def metric(self, name: str, value: float) -> None:
        """Record a number about the run, such as a validation score."""

        def record() -> None:
            self._metrics[str(name)] = float(value)

        self._session.never_raise(f"recording metric {name!r} of {self._record.component!r}", record)

    def __enter__(self) -> Tracked:
        self._enter()
        return self

    @guarded
    def _enter(self) -> None:
        parent = current_run.get()
        self._record = dataclasses.replace(self._record, parent=parent.id if parent else None, started=clock.time())
        self._token = current_run.set(self)
        self._session.sender.runs.begin(self._record)

    @guarded
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            with contextlib.suppress(ValueError):  # a generator may be closed in another context
                current_run.reset(self._token)
            self._token = None
        failed = error is not None and not isinstance(error, GeneratorExit)
        ended = dataclasses.replace(
            self._record,
            status=RunStatus.FAILED if failed else RunStatus.SUCCEEDED,
            ended=clock.time(),
            error=_described(error) if failed and error is not None else None,
            metrics=self._metrics,
            artifacts=tuple(self._artifacts.values()),
        )
        self._session.never_raise("recording a run", lambda: self._session.sender.end_run(ended))

    @guarded
    def record(self, direction: str, name: str, value: Any, time: str | None, by: Sequence[str]) -> None:
        """Record a value if it is an artifact, by the given columns that it has."""

        def record_artifact() -> None:
            if (frame := self._frames.found(value)) is not None:
                present = self._frames.names_of(frame)
                self._record_frame(
                    direction, name, frame, time if time in present else None, tuple(c for c in by if c in present)
                )
            elif (isinstance(value, Path) and value.is_file()) or fingerprint.is_model(value):
                self._record_other(direction, name, value)

        self._guarded(direction, name, record_artifact)

    def _add(self, direction: str, name: str, value: Any, time: str | None, by: Sequence[str]) -> None:
        def record_all() -> None:
            if (frame := self._frames.found(value)) is not None:
                missing = {*by, *([time] if time else [])} - set(self._frames.names_of(frame))
                if missing:
                    raise InputError(
                        f"there is no column {sorted(missing)[0]!r}; there are {self._frames.names_of(frame)}"
                    )
                self._record_frame(direction, name_text(name), frame, time, tuple(by))
            else:
                self._record_other(direction, name_text(name), value)

        self._guarded(direction, name, record_all)

    def _guarded(self, direction: str, name: str, action: Callable[[], None]) -> None:
        self._session.never_raise(f"recording {direction} {name!r} of {self._record.component!r}", action)

    def _record_frame(self, direction: str, name: str, frame: Any, time: str | None, by: tuple[str, ...]) -> None:
        artifact, counted = self._frames.recorded(
            self._session, self._record, direction, name, frame, time, by, self._share
        )
        if self.keeps_profiles and direction == "output":
            self.profiles[artifact.name] = counted
        self._artifacts[direction, artifact.name] = artifact

    def _record_other(self, direction: str, name: str, value: Any) -> None:
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


def run(
    component: str, *, params: Mapping[str, Any] | None = None, at: Any = None, share: float | None = None
) -> Tracked:
    """Track a run of a component: ``with ff.run("train", params={...}) as run: ...``.

    It records status, start, duration, exception, code version, parameters, inputs and outputs; an exception is
    recorded and raised again.

    Args:
        component: the component's name.
        params: the run's parameters.
        at: the logical time: the hour or day whose data the run processes. Default: now.
        share: count only this share of a dataframe's records, drawn at random: 0.1 is one in ten. The counts are then
            those of a sample, named "train.features.sample". Rates, means, quantiles and distances hold for the frame,
            with the wider intervals of fewer records; ``rows``, ``distinct`` and extremes are the sample's. The run
            records the frame's number of records.

    Raises:
        ConfigError: the component has no name, or ``share`` is not above 0 and at most 1.
    """
    try:
        check_name(component)
        check_share(component, share)
        recorded = {str(name): _recordable(value) for name, value in (params or {}).items()}
        return Tracked(component, recorded, None if at is None else float(seconds(at, "at")), code_version(None), share)
    except FourfoldError:
        raise
    except BaseException as error:
        let_end(error)
        return _UNTRACKED


class _Untracked(Tracked):
    """A run that could not be begun: what it is told is forgotten."""

    id, at, started = "", 0.0, 0.0

    def __init__(self) -> None:
        pass

    def input(self, name: str, value: Any, *, time: str | None = None, by: Sequence[str] = ()) -> None:
        """Nothing."""

    def output(self, name: str, value: Any, *, time: str | None = None, by: Sequence[str] = ()) -> None:
        """Nothing."""

    def metric(self, name: str, value: float) -> None:
        """Nothing."""

    def __enter__(self) -> Tracked:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""


_UNTRACKED = _Untracked()


def check_name(name: object) -> None:
    """Reject an invalid component name."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"component name {name!r}: give a text that is not empty")


def check_share(component: str, share: object) -> None:
    """Reject an invalid share of records."""
    if share is not None and (isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1):
        raise ConfigError(f"component {component!r}: share={share!r}: give a number above 0, at most 1")


def _described(error: BaseException) -> str:
    """The exception with its traceback, starting at the host's code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OUR_OWN):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _recordable(value: Any) -> Any:
    """A parameter as a JSON value, else as text."""
    try:
        return json.loads(json.dumps(value))
    except BaseException as error:
        let_end(error)
        return shown(value)[:200]
