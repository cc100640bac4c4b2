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

from bench.faults.fault import Fault
from bench.kernel import PEERS

NAMES = {"evidently": "Evidently", "nannyml": "NannyML"}
HERE = Path(__file__).parent
UNSEEN = frozenset({1, 2, 4, 5, 6})  # runs, code and the pipeline
NO_VECTORS = frozenset({16})
REFERENCE, CURRENT = 28, 14  # days before and after the onset


@dataclasses.dataclass(frozen=True)
class PeerFound:
    """What a peer says of one replay: the columns and metrics that alert before the fault and after it.

    ``after`` are the days after the onset by the end of which each was flagged first; ``clean`` is the same for the
    second half of the reference against its first.
    """

    after: dict[str, float]
    clean: dict[str, float]
    summary_clean: int = 0  # Evidently: columns of which a generated test fails without a fault


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


def ask(name: str, folder: Path, frame: Path, threshold: float) -> PeerFound | str:
    """A peer's alerts on the exported records of a replay, or why there are none."""
    python = folder / name / "bin" / "python"
    done = subprocess.run(
        [str(python), "-W", "ignore", str(HERE / "peer_worker.py"), name, str(frame), str(threshold)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        return f"did not run: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return PeerFound(**json.loads(done.stdout.strip().splitlines()[-1]))
