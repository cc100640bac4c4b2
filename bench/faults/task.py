"""A replay as a piece of work for another process."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
from pathlib import Path

from bench.faults.fault import Size
from bench.faults.judge import Verdict, judge
from bench.faults.registry import FAULTS
from bench.faults.replay import faulty


@dataclasses.dataclass(frozen=True)
class Task:
    """A replay to make."""

    pipeline: str
    seed: int
    fault: int
    size: Size
    work: Path
    export: bool
    checked: bool = True

    @property
    def frame(self) -> Path:
        """Where what peers may see is written."""
        return self.work / "faults" / f"{self.pipeline}-{self.seed}-{self.fault}-{self.size}.parquet"


def quietly() -> None:
    """Set up a process."""
    warnings.simplefilter("ignore")


def verdict_of(task: Task) -> Verdict:
    """Replay and judge; a replay that was made before is not made again."""
    kept = task.frame.with_suffix(".observed")
    if kept.exists() and (task.frame.exists() or not task.export):
        return judge(pickle.loads(kept.read_bytes()))
    path = task.frame if task.export else None
    observed = faulty(task.pipeline, task.seed, FAULTS[task.fault], task.size, task.work, path, checked=task.checked)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(pickle.dumps(observed))
    return judge(observed)
