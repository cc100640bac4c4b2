"""Finds damage in a stream's log on disk, and repairs it until the log can be read again.

Nothing is deleted: unusable files are moved aside. Records whose commit was lost are still in their data files; each
names its batch, so they are appended again unless the log holds that batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from fourfold.errors import FourfoldError, StoreError
from fourfold.log.bucket import BucketError
from fourfold.log.commits import checkpoints, commit_faults, commits, first_unusable, hint, is_parquet, read_commit
from fourfold.log.paths import StorePath, move, open_parquet
from fourfold.log.stream import StreamLog, has_size
from fourfold.log.wire import Message
from fourfold.model.records import BATCH, META


def faults(log: StreamLog) -> list[str]:
    """The damage: damaged or missing commits, data files missing or of another size."""
    if not (log.folder / "_delta_log").is_dir():
        left = _lost(log)
        return [f"its commits are gone, and {len(left)} data files with records are left"] if left else []
    found = commit_faults(log.folder)
    try:
        missing = [path for path, size in _files(log) if not has_size(path, size)]
    except BucketError:
        raise
    except StoreError as error:
        return found or [str(error)]
    found += [f"the data file {path} is missing or damaged" for path in missing]
    lost = _lost(log)
    if lost:
        found.append(f"{len(lost)} data files hold records that no commit names, such as {lost[0]}")
    return found


def unreadable(log: StreamLog) -> list[str]:
    """As ``faults``, and each data file is read too."""
    found = faults(log)
    try:
        files = [path for path, size in _files(log) if has_size(path, size)]
    except BucketError:
        raise
    except StoreError:
        return found
    return found + [f"the data file {path} cannot be read" for path in files if not _is_whole(path)]


def mend(log: StreamLog, aside: StorePath) -> list[str]:
    """Repair a log until it can be read; returns what was done, in words.

    Commits from the first unusable one on are moved aside, then unreadable data files; records in data files whose
    commits are gone are appended again. Records that a lost commit had deleted may be back.
    """
    replaced = _named(log, commits(log.folder), "remove")
    done = [*_mend_checkpoints(log, aside), *_mend_commits(log, aside)]
    log.opened.close()
    try:
        log.opened.table()
    except BucketError:
        raise
    except StoreError:
        whole = log.folder / "_delta_log"
        _move(whole, aside)
        done.append("its commits cannot be read without those that are gone: they were moved aside, and the log is "
                    "rebuilt from its data files")  # fmt: skip
        log.opened.close()
    done += _mend_files(log, aside)
    return [*done, *_append_lost(log, replaced)]


def _mend_checkpoints(log: StreamLog, aside: StorePath) -> Iterator[str]:
    """A checkpoint saves reading older commits; where these are there, the log is whole without it."""
    damaged = [path for path in checkpoints(log.folder) if not is_parquet(path)]
    for path in damaged:
        _move(path, aside)
        yield f"the checkpoint {path.name} was moved aside"
    named = hint(log.folder)
    if named.exists() and any("checkpoint" in fault for fault in commit_faults(log.folder)):
        _move(named, aside)
        yield f"{named.name} was moved aside"


def _mend_commits(log: StreamLog, aside: StorePath) -> Iterator[str]:
    unusable = first_unusable(log.folder)
    if unusable is None:
        return
    version, why = unusable
    gone = [path for path in commits(log.folder) if int(path.stem) >= version]
    gone += [path for path in checkpoints(log.folder) if int(path.name.split(".")[0]) >= version]
    for path in gone:
        _move(path, aside)
    yield f"{why}: the log was cut before it, and {len(gone)} files of commits were moved aside"


def _mend_files(log: StreamLog, aside: StorePath) -> Iterator[str]:
    table = log.opened.newest()
    if table is None:
        return
    damaged = 0
    for path, size in _files(log):
        if not has_size(path, size) or not _is_whole(path):
            damaged += 1
            if path.exists():
                _move(path, aside)
    if damaged:
        table.repair()
        log.opened.close()
        yield f"{damaged} data files are missing or cannot be read: the log goes on without the records in them"


def _append_lost(log: StreamLog, replaced: Collection[StorePath]) -> Iterator[str]:
    """Append what is in data files that no commit names, batch by batch, where the log does not hold it."""
    records = 0
    for path in _lost(log, replaced):
        try:
            with open_parquet(path, at_once=True) as file:
                table = file.read()
            batches = table[BATCH].unique().to_pylist()
        except (pa.ArrowException, OSError, KeyError):
            continue
        messages = []
        for batch in batches:
            writer, _, number = str(batch).rpartition("-")
            if writer and number.isdigit():
                messages.append(Message(writer, int(number), {}, table.filter(pc.equal(table[BATCH], batch))))
        before = log.rows
        try:
            log.append(messages)
        except BucketError:
            raise
        except FourfoldError as error:
            yield f"the records in {path} could not be appended again: {error}"
            continue
        records += log.rows - before
    if records:
        yield f"{records} records were brought back from data files whose commits are gone"


def _lost(log: StreamLog, replaced: Collection[StorePath] = ()) -> list[StorePath]:
    """The data files, the newest first, that no commit names, and that are no older than the newest usable commit.

    Older ones were replaced long ago, and what named them was cleaned away.
    """
    unusable = first_unusable(log.folder)
    usable = [path for path in commits(log.folder) if unusable is None or int(path.stem) < unusable[0]]
    newest = usable[-1].stat().st_mtime_ns if usable else 0
    written = {path: path.stat().st_mtime_ns for path in log.folder.glob("*.parquet") if path.is_file()}
    late = {path for path, at in written.items() if at >= newest} - {path for path, _ in _files(log)} - {*replaced}
    named = _named(log, usable, "add", "remove") if late else set()
    return sorted((path for path in late - named if _has_records(path)), key=lambda path: -written[path])


def _named(log: StreamLog, paths: Iterable[StorePath], *kinds: str) -> set[StorePath]:
    """The data files that commits add or remove; commits that cannot be read name none."""
    found = set()
    for path in paths:
        try:
            actions = read_commit(path)
        except (OSError, ValueError):
            continue
        found |= {log.folder / unquote(a[kind]["path"]) for a in actions for kind in kinds if kind in a}
    return found


def _has_records(path: StorePath) -> bool:
    try:
        with open_parquet(path, at_once=True) as file:
            return set(META.names) <= set(file.schema_arrow.names)
    except (pa.ArrowException, OSError):
        return False


def _is_whole(path: StorePath) -> bool:
    try:
        with open_parquet(path, at_once=True) as file:
            for _ in file.iter_batches():
                pass
    except (pa.ArrowException, OSError):
        return False
    return True


def _files(log: StreamLog) -> list[tuple[StorePath, int]]:
    """The data files of the newest version, and their sizes.

    Raises:
        BucketError: a listing does not have that version yet.
    """
    table = log.opened.newest()
    if table is None:
        return []
    found = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pylist()
    return [(log.folder / unquote(file["path"]), file["size_bytes"]) for file in found]


def _move(path: StorePath, aside: StorePath) -> None:
    aside.mkdir(parents=True, exist_ok=True)
    place = aside / path.name
    for i in range(1, 1_000):
        if not place.exists():
            break
        place = aside / f"{path.name}.{i}"
    move(path, place)
