"""A reader asks everything of a store that it may not write to, and leaves no trace in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fourfold as ff
from fourfold.sdk import Session

QUESTIONS = """
import os, sys
folder = sys.argv[1]
opened = []

def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith(folder):
        flags = arguments[2] or 0
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            opened.append(arguments[0])
    elif event.startswith("fcntl.flock") or (event.startswith("os.") and folder in str(arguments)):
        if event not in ("os.listdir", "os.scandir", "os.stat"):
            opened.append((event, arguments))

sys.addaudithook(watch)
from fourfold.metrics import known_metrics
from fourfold.query.metric import metric
from fourfold.query.reader import Reader
from fourfold.reports.compare import compare
from fourfold.reports.skew import discrepancies, skew
from fourfold.reports.status import status
from fourfold.reports.streams import columns, streams
from fourfold.reports.tasks import targets
from fourfold.reports.trace import trace

if os.getuid() == 0:
    os.setuid(65534)  # for root, no folder is read-only
opened.clear()
reader = Reader.open(folder, "test")
asked = 0
for kind, target, of in targets(reader):
    for name in known_metrics(kind, of):
        text = {"custom_loss": None}.get(name, name.partition("(")[0])
        try:
            asked += len(metric(reader, target, text))
        except Exception as error:
            assert type(error).__name__ == "InputError", (target, name, error)
for more in ({"by": "carrier"}, {"every": "1d"}, {"estimate": True}, {"as_of": "2026-03-04"}):
    asked += len(metric(reader, "late", "recall", **more))
views = status(reader)
assert len(views.tasks) == 1 and len(views.components) == 1, views
assert [view.rows for view in streams(reader) if view.name == "predict"] == [200]
assert len(columns(reader, "predict")) >= 2
assert trace(reader, "7").steps
assert compare(reader, {"carrier": "C1"}, {"carrier": "C2"}).n
assert skew(reader, "predict", "predict") and discrepancies(reader, "predict", "predict")
reader.close()
assert not opened, opened
print("asked", asked)
"""


@pytest.fixture
def read_only(session: Session) -> Iterator[Path]:
    """A store of one task and one component, whose folders cannot be written."""
    random = np.random.default_rng(0)
    score = random.random(200)
    time = pd.Timestamp("2026-03-01", tz="UTC") + pd.to_timedelta(np.arange(200), unit="h")
    carrier = [f"C{i % 3}" for i in range(200)]
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["carrier"])
    scores = pd.DataFrame({"id": range(200), "t": time, "score": score, "carrier": carrier})
    ff.log("predict", scores, key="id", time="t")
    late = pd.DataFrame({"id": range(200), "t": time + pd.Timedelta("1h"), "late": random.random(200) < score})
    ff.log("arrivals", late, key="id", time="t")

    @ff.component
    def copy(frame: pd.DataFrame) -> pd.DataFrame:
        return frame

    copy(late)
    assert ff.metric("late", "recall").value.value
    session.close()
    with tempfile.TemporaryDirectory() as place:  # that anybody may enter, as a folder of the tests' is not
        Path(place).chmod(0o755)
        folder = Path(shutil.copytree(session.settings.store, Path(place, "store")))
        paths = [folder, *folder.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in paths:
            path.chmod(0o755)


@pytest.mark.sqlite
def test_every_question_is_answered_without_writing_and_without_a_lock(read_only: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    script = tmp_path / "ask.py"
    script.write_text(QUESTIONS)
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, str(script), str(read_only)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 60
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before


@pytest.mark.sqlite
def test_a_state_whose_newest_counts_cannot_be_read_is_an_error_and_no_older_answer(
    read_only: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(read_only, tmp_path / "copy"))
    copy.chmod(0o755)
    for path in copy.glob("state.db-*"):
        path.unlink()
    script = (
        "import os, sys, fourfold.query.reader as q, fourfold.state as s\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "try:\n    q.Reader.open(sys.argv[1], 'test')\n    print('read')\n"
        "except s.StateError as error:\n    print('newer counts' in str(error))\n"
    )
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        answers = []
        for content in (b"", b"x" * 32):
            folder = Path(shutil.copytree(copy, Path(place, f"store{len(content)}")))
            (folder / "state.db-wal").write_bytes(content)
            folder.chmod(0o555)
            done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)
            answers.append(done.stdout.strip() or done.stderr)
            folder.chmod(0o755)
    assert answers == ["read", "True"]
