"""The commits of a Delta table as files: their contents, which are readable, and the damage of the others.

Only this module reads them, where the Delta engine offers no suitable way: it could compare the file lists of two
versions, but opening the older one takes some 10 ms (a commit is one small file); its change feed gives rows and must
be written too; and fourfold must prove that the commit's file itself can be read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from fourfold.log import paths
from fourfold.log.bucket import BucketError, BucketPath
from fourfold.log.paths import StorePath

_CHECKPOINT = ".checkpoint.parquet"
_HINT = "_last_checkpoint"


@dataclasses.dataclass(frozen=True)
class FileAction:
    """A data file that a commit added or removed; compacting does so without a change of the data."""

    path: str
    added: bool
    is_change: bool
    size: int  # in bytes; 0 where it was removed


@dataclasses.dataclass(frozen=True)
class Commit:
    """What a commit did: with files, and up to which number it holds the messages of each writer."""

    files: tuple[FileAction, ...]
    noted: dict[str, int]
    overwrites: bool  # all that there was

    @staticmethod
    def read(folder: StorePath, version: int) -> Commit:
        """The commit of a version.

        Raises:
            OSError: it is gone or no file.
            ValueError: it is empty or damaged.
        """
        actions = read_commit(_commit(folder, version))
        files = [
            FileAction(
                str(folder / unquote(action[kind]["path"])),  # the log writes paths as parts of a URL
                kind == "add",
                action[kind].get("dataChange", True),
                action[kind].get("size") or 0,
            )
            for action in actions
            for kind in ("add", "remove")
            if kind in action
        ]
        noted = {action["txn"]["appId"]: action["txn"]["version"] for action in actions if "txn" in action}
        modes = [action.get("commitInfo", {}).get("operationParameters", {}).get("mode") for action in actions]
        return Commit(tuple(files), noted, "Overwrite" in modes)

    def paths(self, *, added: bool, is_change: bool = False) -> set[str]:
        """The files that were added, or removed; with ``is_change``, those that changed the data."""
        return {file.path for file in self.files if file.added == added and (file.is_change or not is_change)}


def is_table(folder: StorePath) -> bool:
    """Whether there may be a table in a folder; in a bucket, whose listing may lack it, its first commit is asked for
    and what names a checkpoint.
    """
    if isinstance(folder, BucketPath) and (exists(folder, 0) or hint(folder).is_file()):
        return True
    return (folder / "_delta_log").is_dir()


def exists(folder: StorePath, version: int) -> bool:
    """Whether there is a commit of a version."""
    return paths.exists(_commit(folder, version))


def mark(folder: StorePath, version: int) -> tuple[int, int, int] | None:
    """What tells the file of a commit, or of its checkpoint, from another in its place; None where there is none.

    Of a bucket, where this would be one more request before each answer, it is not asked.
    """
    if isinstance(folder, BucketPath):
        return 0, 0, version
    for path in (_commit(folder, version), _commit(folder, version, _CHECKPOINT)):
        with contextlib.suppress(NotADirectoryError):
            if (found := paths.status(path)) is not None:
                return found
    return None


def drop_before(folder: StorePath, version: int) -> None:
    """Remove all commits and checkpoints before a version, the oldest first, so that there is never a gap."""
    for path in paths.in_order((folder / "_delta_log").iterdir()):
        number = path.name.partition(".")[0]
        if number.isdigit() and int(number) < version:
            path.unlink(missing_ok=True)  # another that erases may be at it


def _commit(folder: StorePath, version: int, suffix: str = ".json") -> str:
    return f"{folder}/_delta_log/{version:020d}{suffix}"  # asked for before every answer: no Path


def read_commit(path: str | StorePath) -> list[dict[str, Any]]:
    """The actions of a commit.

    Raises:
        OSError: it is gone or no file.
        ValueError: it is empty or damaged.
    """
    text = paths.path_of(str(path)).read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not found or not all(isinstance(action, dict) for action in found):
        raise ValueError("it is empty")
    return found


def commits(folder: StorePath) -> list[StorePath]:
    """The files of the commits, the oldest first."""
    return paths.in_order(path for path in (folder / "_delta_log").glob("[0-9]*.json") if path.stem.isdigit())


def checkpoints(folder: StorePath) -> list[StorePath]:
    """The files of the checkpoints, the oldest first."""
    return paths.in_order((folder / "_delta_log").glob(f"[0-9]*{_CHECKPOINT}"))


def hint(folder: StorePath) -> StorePath:
    """The file that names the newest checkpoint."""
    return folder / "_delta_log" / _HINT


def is_parquet(path: StorePath) -> bool:
    """Whether a file ends as a Parquet file does."""
    try:
        paths.open_parquet(path, at_once=True).close()
    except (pa.ArrowException, OSError):
        return False
    return True


def unlisted(folder: StorePath) -> BucketError:
    """The error that a bucket's listing lacks what is there."""
    return BucketError(f"the log at {folder}: its newest commits are not listed yet; try again")


def first_unusable(folder: StorePath) -> tuple[int, str] | None:
    """The first version whose commit cannot be used, and why; looked for from the newest checkpoint on.

    An empty table without a commit has none.

    Raises:
        BucketError: one that is not listed is there all the same.
    """
    sound = [int(path.name.split(".")[0]) for path in checkpoints(folder) if is_parquet(path)]
    expected = sound[-1] + 1 if sound else 0
    for path in commits(folder):
        version = int(path.stem)
        if version < expected:
            continue
        if version > expected:
            if isinstance(folder, BucketPath) and exists(folder, expected):
                raise unlisted(folder)
            return expected, f"commit {expected} is missing"
        try:
            read_commit(path)
        except (OSError, ValueError) as error:
            why = "is empty" if str(error) == "it is empty" else "is damaged"
            return version, f"commit {version} {why}"
        expected += 1
    return None


def commit_faults(folder: StorePath) -> list[str]:
    """What is wrong with a table's commits and checkpoints, in words.

    Raises:
        BucketError: a bucket could not be asked, or a listing of it lacks what is there.
    """
    found = [f"the checkpoint {path.name} is damaged" for path in checkpoints(folder) if not is_parquet(path)]
    try:
        named = int(json.loads(hint(folder).read_text(encoding="utf-8"))["version"])
        if not any(int(path.name.split(".")[0]) == named for path in checkpoints(folder)):
            if isinstance(folder, BucketPath) and paths.exists(_commit(folder, named, _CHECKPOINT)):
                raise unlisted(folder)
            found.append(f"the checkpoint of version {named} is missing")
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError):
        found.append(f"{_HINT} is damaged (the log can be read without it)")
    if (unusable := first_unusable(folder)) is not None:
        found.append(unusable[1])
    return found
