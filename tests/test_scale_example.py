"""The example of a store that has outgrown its folder, run as its reader would run it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).parent.parent / "examples" / "scale" / "run.py"


@pytest.fixture(scope="module")
def example() -> Any:
    found = importlib.util.spec_from_file_location("scale_example", RUN)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.services
def test_postgresql_a_bucket_and_two_processes_give_the_numbers_of_a_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": "/tmp"}  # a socket's path must be short
    done = subprocess.run(
        [sys.executable, str(RUN), "--until", "2013-04-03"], capture_output=True, text=True, cwd=tmp_path,
        env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = re.search(r"(\d+) values of (\d+) rows; 0 differ", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) > 10 * int(found[2]) > 3_000
    assert list(tmp_path.iterdir()) == []


def test_what_differs_is_told(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"target": "late", "metric": "recall", "start": "2013-04-01", "value": 0.5, "n": 10}
    assert example.compare([row], [row | {"value": 0.5 + 1e-12}]) == 0
    assert example.compare([row | {"value": float("inf")}], [row | {"value": float("inf")}]) == 0
    assert example.compare([row], [row | {"value": 0.5001}]) == 1
    assert example.compare([row], [row | {"n": 11}]) == 1
    of_bins = row | {"metric": "quantile(0.5)"}
    assert example.compare([of_bins], [of_bins | {"value": 0.501}]) == 0
    assert example.compare([of_bins], [of_bins | {"value": 0.51}]) == 1
    assert example.compare([row], [row | {"value": None}]) == 1
    assert example.compare([row], []) == 1
    assert example.compare([], []) == 1
    assert "late recall 2013-04-01: value is 0.5 in the folder, 0.5001 in the bucket" in capsys.readouterr().out
