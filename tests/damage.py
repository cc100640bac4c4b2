"""Kinds of damage to a store: each function is given the folder of a store as ``build`` makes it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

import fourfold as ff

BATCHES, EACH = 3, 5  # of the streams "bad" (which is damaged), "good" and "labels"


def build(folder: Path) -> None:
    """A store with a task on "bad" and "labels", its state in one file."""
    session = ff.init(folder, "test")
    ff.task("task", prediction="bad.score", label="labels.y", slices=["c"])
    for i in range(BATCHES):
        for j in range(EACH):
            ff.log("bad", key=f"{i}-{j}", score=j / EACH, c="ab"[j % 2])
            ff.log("good", key=f"{i}-{j}", v=1.0 * j)
            ff.log("labels", key=f"{i}-{j}", y=j % 2)
        ff.metric("task", "recall")
    with ff.run("load") as run:
        run.output("frame", pa.table({"x": [1.0, 2.0]}))
    ff.metric("good", "rows")
    session.close()
    sql("PRAGMA wal_checkpoint(TRUNCATE)")(folder)


def state(folder: Path) -> Path:
    return folder / "state.db"


def commits(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "test" / "bad" / "_delta_log").glob("*.json"))


def data(folder: Path) -> Path:
    """The oldest data file of "bad"."""
    return min((folder / "log" / "test" / "bad").glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)


def hint(folder: Path) -> Path:
    return folder / "log" / "test" / "bad" / "_delta_log" / "_last_checkpoint"


def flip(path: Path, *places: int) -> None:
    content = bytearray(path.read_bytes())
    for place in places or range(100, len(content), 500):
        content[place] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path, keep: int | None = None) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if keep is None else keep])


def remove(path: Path) -> bool:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return True


def into_folder(path: Path) -> bool:
    remove(path)
    path.mkdir(parents=True)
    return True


def into_text(path: Path) -> None:
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("odd")


def sql(statement: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        connection = sqlite3.connect(state(folder))
        connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    return run


def checkpointed(then: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something done to a checkpoint of "bad", which is made first."""

    def run(folder: Path) -> None:
        DeltaTable(folder / "log" / "test" / "bad").create_checkpoint()
        for path in hint(folder).parent.glob("*.checkpoint.parquet"):
            then(path)

    return run


def without_state(folder: Path) -> bool:
    return all(remove(path) for path in folder.glob("state.db*"))


# by name: what is done; whether "good" still answers without mending; and the records of "bad" after mending
KINDS: dict[str, tuple[Callable[[Path], object], bool, int]] = {
    "flipped state": (lambda f: flip(state(f)), False, 15),
    "state with a flipped header": (lambda f: flip(state(f), 3), False, 15),
    "half a state": (lambda f: cut(state(f)), False, 15),
    "empty state": (lambda f: cut(state(f), 0), True, 15),
    "text for a state": (lambda f: into_text(state(f)), False, 15),
    "no state": (without_state, True, 15),
    "folder for a state": (lambda f: into_folder(state(f)), False, 15),
    "no counts": (sql("DROP TABLE counts"), False, 15),
    "no positions": (sql("DROP TABLE cursor"), False, 15),
    "no tasks": (sql("DROP TABLE task"), False, 15),
    "no artifacts": (sql("DROP TABLE artifact"), True, 15),
    "odd version": (sql("UPDATE alembic_version SET version_num = 'abc'"), False, 15),
    "no version": (sql("DELETE FROM alembic_version"), False, 15),
    "odd counts": (sql("UPDATE counts SET bins = x'00', tallies = x'01'"), False, 15),
    "odd task": (sql("UPDATE task SET definition = '{'"), False, 15),
    "folder for the lock": (lambda f: into_folder(f / "fold.lock"), True, 15),
    "folder for the state's lock": (lambda f: (into_folder(f / "state.lock"), without_state(f)), False, 15),
    "text for the inbox": (lambda f: into_text(f / "inbox"), False, 15),
    "text for the quarantine": (lambda f: into_text(f / "quarantine"), True, 15),
    "text for the log": (lambda f: into_text(f / "log"), True, 15),
    "no log": (lambda f: remove(f / "log"), True, 15),
    "no log of bad": (lambda f: remove(f / "log" / "test" / "bad"), True, 15),
    "no commits": (lambda f: remove(commits(f)[0].parent), True, 15),
    "no data file": (lambda f: remove(data(f)), True, 10),
    "half a data file": (lambda f: cut(data(f)), True, 10),
    "folder for a data file": (lambda f: into_folder(data(f)), True, 10),
    "empty newest commit": (lambda f: cut(commits(f)[-1], 0), True, 15),
    "half a newest commit": (lambda f: cut(commits(f)[-1]), True, 15),
    "odd newest commit": (lambda f: commits(f)[-1].write_bytes(b"\xff\x00"), True, 15),
    "folder for the newest commit": (lambda f: into_folder(commits(f)[-1]), True, 15),
    "no newest commit": (lambda f: remove(commits(f)[-1]), True, 15),
    "no middle commit": (lambda f: remove(commits(f)[1]), True, 15),
    "half a middle commit": (lambda f: cut(commits(f)[1]), True, 15),
    "no first commit": (lambda f: remove(commits(f)[0]), True, 15),
    "odd checkpoint hint": (lambda f: into_text(hint(f)), True, 15),
    "no checkpoint": (checkpointed(remove), True, 15),
    "odd checkpoint": (checkpointed(into_text), True, 15),
    "no checkpoint and no commits before": (
        lambda f: (checkpointed(remove)(f), [remove(path) for path in commits(f)[:-1]]), True, 15
    ),
    "odd message": (lambda f: into_text(f / "inbox" / "a-000000000001.arrow"), True, 15),
    "folder for a message": (lambda f: (f / "inbox" / "a-000000000001.arrow").mkdir(exist_ok=True), True, 15),
    "odd note": (lambda f: into_text(f / "quarantine" / "x.json"), True, 15),
    "folder for a note": (lambda f: into_folder(f / "quarantine" / "x.json"), True, 15),
    "odd declarations": (lambda f: into_text(f / "log" / "test" / "_declarations.json"), True, 15),
}  # fmt: skip


# with these and without the logs, nothing tells what there was
STATE_GONE = {name for name, (_, answers, _) in KINDS.items() if not answers} | {"empty state", "no state"}


def half_written(folder: Path) -> None:
    """A message of a process that died an hour ago while it wrote."""
    path = folder / "inbox" / ".w-000000000001.arrow"
    path.write_bytes(b"half")
    os.utime(path, (path.stat().st_mtime - 600,) * 2)
