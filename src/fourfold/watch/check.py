"""A check: judge what is new, and bring the incidents up to date, all or nothing."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow.compute as pc
import sqlalchemy as sa

from fourfold.errors import FourfoldError, StoreError
from fourfold.model import DAY, Finding, Incident, IncidentState, Task
from fourfold.model.records import RUN
from fourfold.query.reader import Reader
from fourfold.state import StateError, bulk, catalogue, incidents, runs
from fourfold.state import memory as memories
from fourfold.store import Store
from fourfold.watch import constraints, lifecycle, notify
from fourfold.watch import incidents as asked
from fourfold.watch import runs as runs_now
from fourfold.watch.grouping import Book
from fourfold.watch.histories import DamagedMemoryError
from fourfold.watch.lifecycle import News
from fourfold.watch.lineage import Lineage, component_of
from fourfold.watch.memory import NAME, Memory, remembered
from fourfold.watch.notify.outbox import enqueue
from fourfold.watch.notify.protocol import Channel
from fourfold.watch.objectives import findings as objective_findings
from fourfold.watch.seen import Seen, SeenStep
from fourfold.watch.settings import WatchSettings
from fourfold.watch.signals.judging import judge

logger = logging.getLogger("fourfold")
_CONSTRAINTS = "constraints"


@dataclasses.dataclass(frozen=True)
class Checked:
    """What a check found.

    ``incidents`` are those that have not ended; ``news`` what people are to be told; ``learning`` how much history
    the detectors have, of what they need, where that is not all.
    """

    incidents: Sequence[Incident]
    news: Sequence[tuple[Incident, News]]
    learning: dict[str, tuple[int, int]]


def check(store: Store, settings: WatchSettings, now: float) -> Checked:
    """Judge all that is new in a store's project, and bring its incidents up to date.

    One process checks at a time; others wait for it. All that a check changes is written in one transaction, so that
    one that dies has changed nothing, and the next one does its work. Nobody who decides about an incident waits for
    a check: see ``Seen``.

    Raises:
        StoreError: the store cannot be written, so that nothing could be remembered.
    """
    if not store.writer.writable:
        raise StoreError(f"a check writes down what it finds, and {store.folder} is read-only for this process")
    channels = notify.channels(settings.notify)
    reader = store.caught_up()
    with reader.database.lock("watch"):
        try:
            return _check(reader, settings, channels, now, remembered(reader))
        except DamagedMemoryError as error:
            logger.warning("%s; the watch learns anew from the counts", error)
            return _check(reader, settings, channels, now, Memory())


def _check(reader: Reader, settings: WatchSettings, channels: Sequence[Channel], now: float, memory: Memory) -> Checked:
    """Check by what was remembered.

    Raises:
        DamagedMemoryError: that cannot be read; nothing was changed.
    """
    with reader.database.read() as connection:
        tasks = list(catalogue.tasks(connection, reader.project).values())
        known = incidents.load(connection, reader.project)
    learned = reader.recall(_inferred).copy()
    inferred = learned.to_bytes()
    before = None if memory.checked is None else memory.standing()
    seen = _seen(reader, settings, now, memory, tasks, known, learned)
    book = seen.brought_up(known, known)
    _remember(memory, seen, book)
    moved, learns = memory.standing() != before, learned.to_bytes() != inferred
    if book.changed() or moved or learns:  # what nobody writes, everybody may go on to remember
        with reader.database.write() as connection:
            newest = incidents.load(connection, reader.project)
            if newest != known:  # somebody has decided meanwhile
                book = seen.brought_up(newest, known)
                _remember(memory, seen, book)
            for old, after in book.changed():
                incidents.save(connection, reader.project, after)
                enqueue(connection, reader.project, old, after, channels, now)
            if memory.standing() != before:
                _save(connection, reader.project, memory)
            if learns:
                memories.save(connection, reader.project, _CONSTRAINTS, learned.to_bytes())
    news = [(after, event) for old, after in book.changed() for event in lifecycle.events(old, after)]
    active = sorted((incident for incident in book.incidents if incident.state.is_active), key=asked.urgency)
    return Checked(active, news, memory.learning)


def _seen(
    reader: Reader,
    settings: WatchSettings,
    now: float,
    memory: Memory,
    tasks: Sequence[Task],
    known: Sequence[Incident],
    learned: constraints.Learned,
) -> Seen:
    """Look at all that is new; what it says of the future is remembered, of the incidents nothing is changed."""
    lineage = _lineage(reader, memory, tasks)
    dismissed = asked.feedback(reader)
    _accept_dismissed(known, memory)
    steps = [
        SeenStep(_unmuted(memory.firing.values(), settings), step.end, _told_at(step.end, now), step.settled)
        for step in judge(reader, memory, settings, tasks, now, dismissed)
    ]
    found, unknown = _others(reader, settings, learned, now)
    others = [_with_component(finding, memory.loggers) for finding in found]
    midnight = now // DAY * DAY  # checks of one day count as one
    last = SeenStep(_unmuted([*memory.firing.values(), *others], settings), midnight, now, ())
    judged = {task.name: memory.last.get(f"task {task.name}", 0) for task in tasks}
    held, memory.held = frozenset(memory.held), {finding.series for finding in others}
    memory.checked = now
    return Seen(steps, last, held, unknown, judged, lineage, now)


def _remember(memory: Memory, seen: Seen, book: Book) -> None:
    """What holds on because it could not be looked at."""
    memory.held |= {finding.series for finding in seen.unlooked(book.incidents)}


def _save(connection: sa.Connection, project: str, memory: Memory) -> None:
    """Keep what is remembered; the histories, which may be large, only if something was judged by them."""
    memories.save(connection, project, NAME, memory.to_bytes())
    if memory.used is not None:
        for name, part in memory.used.parts():
            memories.save(connection, project, f"{NAME}/{name}", part)


def _others(
    reader: Reader, settings: WatchSettings, learned: constraints.Learned, now: float
) -> tuple[list[Finding], list[str]]:
    """What is wrong now by all that is not judged bucket by bucket, and the sources that failed.

    One that fails is told of, and what it found before stays: the others go on.
    """
    sources: Mapping[str, Callable[[], list[Finding]]] = {
        "runs": lambda: runs_now.findings(reader, now, expects=settings.expects),
        "constraints": lambda: constraints.findings(reader, now, expects=settings.expects, learned=learned),
        "objectives": lambda: objective_findings(reader, now),
    }
    found: list[Finding] = []
    failed = []
    for source, look in sources.items():
        try:
            found += [dataclasses.replace(finding, source=source) for finding in look()]
        except StateError:
            raise
        except FourfoldError as error:
            logger.warning("watching %s: %s", source, error)
            failed.append(source)
    return found, failed


def _with_component(finding: Finding, loggers: Mapping[str, str]) -> Finding:
    where = finding.where
    if where.component or not loggers.get(where.stream):
        return finding
    return dataclasses.replace(finding, where=dataclasses.replace(where, component=loggers[where.stream]))


def _accept_dismissed(known: Iterable[Incident], memory: Memory) -> None:
    """What users have dismissed is normal from now on."""
    for incident in known:
        if incident.state is IncidentState.DISMISSED:
            for finding in incident.findings:
                if memory.firing.pop(finding.series, None) is not None:
                    memory.accept(finding.series)


def _inferred(connection: sa.Connection, project: str) -> constraints.Learned:
    return constraints.Learned.from_bytes(memories.load(connection, project, _CONSTRAINTS))


def _told_at(end: float, now: float) -> float:
    """When a bucket's findings are said: now; those of a replayed history, when they could have been."""
    return now if now - end <= 3 * DAY else end


def _unmuted(findings: Iterable[Finding], settings: WatchSettings) -> list[Finding]:
    if not settings.mute:
        return list(findings)
    return [f for f in findings if not settings.mutes(f"{f.where}", f"{f.where} {f.kind}", f.kind, f.where.component)]


def _lineage(reader: Reader, memory: Memory, tasks: Sequence[Task]) -> Lineage:
    components = list(reader.recall(runs.components))
    streams = sorted({owner.name for owner, _ in reader.recall(bulk.of_streams)})
    for stream in streams:
        if not memory.loggers.get(stream):
            memory.loggers[stream] = component_of(stream, components) or _logger_of(reader, stream)
    loggers = {stream: memory.loggers[stream] for stream in streams}
    return Lineage.of(reader.recall(runs.edges), reader.recall(runs.inputs), loggers, tasks)


def _logger_of(reader: Reader, stream: str) -> str:
    """The component whose run logged a stream's newest records; "" if none did."""
    changes = reader.log(stream).whole()
    newest = dataclasses.replace(changes, added=changes.added[-1:])
    names = pc.unique(newest.records(pc.field(RUN).is_valid(), [RUN])[RUN]).to_pylist() if newest.added else []
    with reader.database.read() as connection:
        found = runs.by_id(connection, reader.project, names[-1:])
    return next((run.component for run in found.values()), "")
