"""The commits of a Delta table as files: which can be read, and what is wrong with those that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_CHECKPOINT = ".checkpoint.parquet"
_HINT = "_last_checkpoint"


def read_commit(path: Path) -> list[dict[str, Any]]:
    """The actions of a commit.

    Raises:
        OSError: it is gone or no file.
        ValueError: it is empty or damaged.
    """
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not found or not all(isinstance(action, dict) for action in found):
        raise ValueError("it is empty")
    return found


def commits(folder: Path) -> list[Path]:
    """The files of the commits, the oldest first."""
    return sorted(path for path in (folder / "_delta_log").glob("[0-9]*.json") if path.stem.isdigit())


def checkpoints(folder: Path) -> list[Path]:
    """The files of the checkpoints, the oldest first."""
    return sorted((folder / "_delta_log").glob(f"[0-9]*{_CHECKPOINT}"))


def hint(folder: Path) -> Path:
    """The file that names the newest checkpoint."""
    return folder / "_delta_log" / _HINT


def is_parquet(path: Path) -> bool:
    """Whether a file ends as a Parquet file does."""
    try:
        pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return False
    return True


def first_unusable(folder: Path) -> tuple[int, str] | None:
    """The first version whose commit cannot be used, and why; looked for from the newest checkpoint on.

    An empty table without a commit has none.
    """
    sound = [int(path.name.split(".")[0]) for path in checkpoints(folder) if is_parquet(path)]
    expected = sound[-1] + 1 if sound else 0
    for path in commits(folder):
        version = int(path.stem)
        if version < expected:
            continue
        if version > expected:
            return expected, f"commit {expected} is missing"
        try:
            read_commit(path)
        except (OSError, ValueError) as error:
            why = "is empty" if str(error) == "it is empty" else "is damaged"
            return version, f"commit {version} {why}"
        expected += 1
    return None


def commit_faults(folder: Path) -> list[str]:
    """What is wrong with a table's commits and checkpoints, in words."""
    found = [f"the checkpoint {path.name} is damaged" for path in checkpoints(folder) if not is_parquet(path)]
    try:
        named = int(json.loads(hint(folder).read_text(encoding="utf-8"))["version"])
        if not any(int(path.name.split(".")[0]) == named for path in checkpoints(folder)):
            found.append(f"the checkpoint of version {named} is missing")
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError):
        found.append(f"{_HINT} is damaged (the log can be read without it)")
    if (unusable := first_unusable(folder)) is not None:
        found.append(unusable[1])
    return found
