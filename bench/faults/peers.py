"""The same faults given to Evidently and NannyML, each in an environment of its own, with its defaults.

They are given what they have a notion of: the predicted records as one table, with score and known labels; the period
before the fault as reference, and that after it. They cannot see runs, code, the pipeline, or an embedding's vectors.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from bench.faults.fault import Fault, Size
from bench.kernel import PEERS

NAMES = {"evidently": "Evidently", "nannyml": "NannyML"}
HERE = Path(__file__).parent
UNSEEN = frozenset({1, 2, 4, 5, 6})  # runs, code and the pipeline
NO_VECTORS = frozenset({16})
REFERENCE, CURRENT = 28, 14  # days before and after the onset


@dataclasses.dataclass(frozen=True)
class PeerFound:
    """What a peer flags in one replay: columns, and "performance", with the days until it did.

    ``summary`` is the number of columns of which a test that Evidently generated fails (only asked without a fault).
    """

    flagged: dict[str, float]
    summary: int = 0


@dataclasses.dataclass(frozen=True)
class PeerKey:
    """A question to a peer: which replay, and the period "after" or "before" the onset."""

    peer: str
    pipeline: str
    fault: int
    size: Size
    period: str


def install(folder: Path) -> dict[str, str]:
    """Build the environments in a folder; why one could not be built, by name."""
    failed = {}
    for name in NAMES:
        python = folder / name / "bin" / "python"
        if python.exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *PEERS[name]], capture_output=True, text=True
        )
        if done.returncode:
            failed[name] = f"could not be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return failed


def sees(fault: Fault) -> bool:
    """Whether a table of records can show the fault at all."""
    return fault.number not in UNSEEN | NO_VECTORS


def ask(name: str, folder: Path, frame: Path, threshold: float, period: str) -> PeerFound | str:
    """A peer's alerts on the exported records of a replay, or why there are none; asked once.

    ``period`` is "after" the onset, or "before" it: the second half of the reference against its first.
    """
    kept = frame.with_suffix(f".{name}-{period}")
    if kept.exists():
        return PeerFound(**json.loads(kept.read_text()))
    python = folder / name / "bin" / "python"
    done = subprocess.run(
        [str(python), "-W", "ignore", str(HERE / "peer_worker.py"), name, str(frame), str(threshold), period],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        return f"did not run: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    kept.write_text(done.stdout.strip().splitlines()[-1])
    return PeerFound(**json.loads(kept.read_text()))
