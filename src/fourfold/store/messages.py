"""What processes send to a store: the headers of messages, made and read in one place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from fourfold.binning import Binning
from fourfold.fold import Plan
from fourfold.model import Artifact, Run, RunStatus, Task

Header = dict[str, Any]


def records(project: str, stream: str, key: str | None, time: str | None) -> Header:
    """Records for a stream's log; key and time are the names that these columns had."""
    return {"kind": "records", "project": project, "stream": stream, "key": key, "time": time}


def rejected(project: str, stream: str, reason: str) -> Header:
    """Records that cannot be logged as they are; they go to quarantine."""
    return {"kind": "rejected", "project": project, "stream": stream, "reason": reason}


def counted(project: str, stream: str, run: Run, plan: Plan) -> Header:
    """The counts, by hour, of a frame that a run read or wrote."""
    binnings = {name: dataclasses.astuple(plan.binning(name, 2**62)) for name in plan.binnings}
    return {
        "kind": "counts", "project": project, "stream": stream, "started": run.started,
        "binnings": binnings, "small": sorted(plan.small),
    }  # fmt: skip


def plan_of(header: Mapping[str, Any]) -> tuple[dict[str, Binning], frozenset[str]]:
    """The binnings that counts in a message refer to, and the small integer columns."""
    return {name: Binning(*fields) for name, fields in header["binnings"].items()}, frozenset(header["small"])


def run(project: str, record: Run) -> Header:
    """A run as it is now."""
    return {"kind": "run", "project": project, "run": json.loads(json.dumps(dataclasses.asdict(record), default=str))}


def run_of(header: Mapping[str, Any]) -> Run:
    """The inverse of ``run``."""
    fields = dict(header["run"])
    fields["status"] = RunStatus(fields["status"])
    fields["artifacts"] = tuple(Artifact(**artifact) for artifact in fields["artifacts"])
    return Run(**fields)


def task(project: str, definition: Task) -> Header:
    """The declaration of a task."""
    return {"kind": "task", "project": project, "task": definition.to_json()}
