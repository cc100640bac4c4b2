"""What messages say, written into the state: runs, declarations, and the counts of frames."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fourfold import counts
from fourfold.counts.binning import Binning
from fourfold.ingest import apart
from fourfold.ingest.identifiers import recognise_identifiers
from fourfold.log import BucketError, Message, messages
from fourfold.model import EVERYTHING, Objective, Owner, Task
from fourfold.state import adding, catalogue, in_file, objectives, series
from fourfold.state.jobs import Job

Received = tuple[Message, messages.Content]


def apply(connection: sa.Connection, received: Sequence[Received]) -> None:
    """Write down what some messages say, in their order; the counts of a stream's frames at once."""
    counted: dict[tuple[str, str], list[tuple[pa.Table, messages.Counted]]] = {}
    for message, content in received:
        match content:
            case messages.Runs() | messages.Reported():
                apart.save(connection, content, came(message))
            case messages.Declared():
                if not content.in_file or _is_new(connection, content.project, content.task):
                    _declare(connection, content.project, content.task)
            case messages.Aimed():
                _aim(connection, content)
            case messages.Counted():
                counted.setdefault((content.project, content.stream), []).append((message.table, content))
    for (project, stream), batch in counted.items():
        _add_counts(connection, project, stream, batch)


def came(message: Message) -> float:
    """When a message came, in seconds since 1970: where its file was put, whatever the clock of who sent it says."""
    now = time.time()
    try:
        put = 0.0 if message.path is None else message.path.stat().st_mtime
    except (OSError, BucketError):
        put = 0.0
    return min(put, now) if put > 0 else now


def _declare(connection: sa.Connection, project: str, task: Task) -> None:
    """Declare a task. If its join or its rules differ from the earlier declaration, it is counted again.

    New slices are counted from the start, and removed ones are forgotten (see ``Counter``).
    """
    known = catalogue.tasks(connection, project).get(task.name)
    if known is not None and dataclasses.replace(known, slices=task.slices, sums=task.sums) != task:
        series.forget(connection, project, Owner.of_task(task.name))
        for key in list(catalogue.cursors(connection, project)) + list(catalogue.backfills(connection, project)):
            if Job.from_key(key).owner == Owner.of_task(task.name):
                catalogue.forget_job(connection, project, key)
    catalogue.set_task(connection, project, task.without_sums)


def _aim(connection: sa.Connection, content: messages.Aimed) -> None:
    """Declare an objective, or withdraw it."""
    if content.objective is None:
        in_file.withdraw(connection, content.project, content.name)
    elif content.in_file and not _is_new(connection, content.project, content.objective):
        return
    objectives.set_one(connection, content.project, content.name, content.objective)


def _is_new(connection: sa.Connection, project: str, declared: Task | Objective) -> bool:
    """Whether fourfold.toml says something new by a declaration, which is then noted."""
    known = in_file.sections(connection, project)
    if found := in_file.is_new(known, declared):
        in_file.note(connection, project, {**known, in_file.section(declared): declared.to_json()})
    return found


def _add_counts(
    connection: sa.Connection, project: str, stream: str, batch: Sequence[tuple[pa.Table, messages.Counted]]
) -> None:
    """Add the counts of frames that runs read or wrote, by hour, day and run."""
    owner = Owner.of_stream(stream)
    catalogue.add_stream(connection, project, stream, None, None)
    hourly, by_run = [], []
    for counted, content in batch:
        table = _with_known_versions(connection, project, owner, counted.cast(counts.SCHEMA), content.binnings)
        catalogue.add_small_integers(connection, project, owner, content.small)
        catalogue.set_identifiers(connection, project, owner, content.identifiers)
        hourly.append(table)
        whole = table.filter(pc.equal(table["slice"], EVERYTHING))
        started = np.full(whole.num_rows, int(content.started * 1e6))
        by_run.append(counts.rebucket(whole, started))
    together = counts.add(*hourly)
    added = adding.add_levels(connection, project, {owner: together})
    known = catalogue.plan(connection, project, owner).identifiers
    recognise_identifiers(connection, project, {owner: known}, added)
    adding.add(connection, project, owner, series.RUN, counts.add(*by_run))


def _with_known_versions(
    connection: sa.Connection, project: str, owner: Owner, table: pa.Table, binnings: Mapping[str, Binning]
) -> pa.Table:
    """Counts with the versions under which the state knows their binnings.

    Two processes may have fixed a column's binning at the same time: the later one becomes a separate version, which
    no new data will use.
    """
    known = catalogue.plan(connection, project, owner).binnings
    versions = {}
    for column, binning in binnings.items():
        same = [b for _, b in known.get(column, ()) if (b.centre, b.scale, b.bits) == _shape(binning)]
        if same:
            versions[column] = same[0].version
            continue
        versions[column] = 1 + max((b.version for _, b in known.get(column, ())), default=-1)
        new = Binning(*_shape(binning), versions[column])
        start = 2**62 if column in known else 0
        catalogue.add_binnings(connection, project, owner, {column: new}, start)
    renamed = [versions.get(column, 0) for column in table["column"].to_pylist()]
    index = table.schema.get_field_index("binning")
    return table.set_column(index, table.schema.field(index), pa.array(renamed, pa.int64()))


def _shape(binning: Binning) -> tuple[float, float, int]:
    return binning.centre, binning.scale, binning.bits
