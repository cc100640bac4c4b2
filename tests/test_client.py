"""The light client: records that the collector makes columns of are those that fourfold makes columns of itself."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold.config import PLAUSIBLE
from fourfold.errors import InputError
from fourfold.fold.arrays import rows_of
from fourfold.log import messages
from fourfold.model.records import BATCH, ROW
from fourfold.sdk.columns import Columns
from fourfold.sdk.form import Form
from fourfold.sdk.plain import Plain
from fourfold.sdk.record import Record
from fourfold.serve.collector.plain import made_of
from fourfold.store import Store
from tests.collectors import collector
from tests.test_any_value import NOW, ODD
from tests.test_architecture import MODULES, SOURCE, loaded

ROOT = Path(__file__).parent.parent
NAME = "writer-000000000001"
Stored = list[tuple[bool, str, list[dict[str, Any]]]]  # whether it was logged, the schema, and the records
odd = st.sampled_from(ODD)


class Run:
    """What a record knows of its run."""

    id = "run"


def stored(form: Form, several: list[Any]) -> Stored:
    """What a store would hold of batches, in an order of its own."""
    found = []
    for batch in several:
        if isinstance(form, Columns):
            tables = [(batch.error is None, batch.payload)]
        else:
            if batch.error is None:
                header = messages.records("test", "s", batch.key, batch.time)
            else:
                header = messages.rejected("test", "s", str(type(batch.error)))
            out = io.BytesIO()
            form.write(out, header, batch.payload)
            made = made_of(NAME, json.loads(out.getvalue()))
            tables = [
                (head["kind"] == "records", table.select([n for n in table.column_names if n not in (BATCH, ROW)]))
                for _, head, table in made
                if table is not None
            ]  # fmt: skip
        found += [(logged, table) for logged, table in tables]
    return sorted(((logged, str(table.schema.to_string()), rows_of(table)) for logged, table in found), key=repr)


def as_text(found: Stored) -> str:
    """What was logged, as text, in which NaN equals itself; of what is in quarantine, how many records there are."""
    return repr([rows if logged else len(rows[-1]) for logged, *rows in found])


def both(records: list[Record]) -> tuple[str, str]:
    columns, plain = Columns(), Plain()
    here = stored(columns, columns.of_records(records, PLAUSIBLE))
    there = stored(plain, plain.of_records(records, PLAUSIBLE))
    return as_text(here), as_text(there)


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", ["value", "key", "time", "name", "nested", "of a dict"])
def test_a_value_is_stored_the_same_wherever_columns_are_made(place: str, value: Any) -> None:
    good = [Record("s", None, {"v": 1.0}, f"good-{i}", None, NOW, Run()) for i in range(2)]
    try:
        record = {
            "value": lambda: Record("s", None, {"w": value}, "odd", None, NOW, None),
            "key": lambda: Record("s", None, {"v": 2.0}, value, None, NOW, None),
            "time": lambda: Record("s", None, {"v": 2.0}, "odd", value, NOW, None),
            "name": lambda: Record("s", {"id": "odd", value: 1.0}, {}, "id", None, NOW, None),
            "nested": lambda: Record("s", None, {"w": [{"x": value, "$date": [value]}]}, "odd", None, NOW, None),
            "of a dict": lambda: Record("s", {"id": value, "at": value, "w": value}, {}, "id", "at", NOW, None),
        }[place]()
    except TypeError:  # no key of a dict
        return
    here, there = both([*good, record])
    assert here == there


@given(st.lists(st.tuples(odd, odd, odd), max_size=6))
def test_no_record_costs_another_one_in_any_company(several: list[tuple[Any, Any, Any]]) -> None:
    records = [Record("s", None, {"v": 1.0}, "good", None, NOW, None)]
    records += [Record("s", None, {"v": value}, key, time, NOW, None) for key, time, value in several]
    plain = Plain()
    found = stored(plain, plain.of_records(records, PLAUSIBLE))
    assert sum(len(rows) for _, _, rows in found) == len(records)
    assert any(logged and {"good"} <= {row["_ff_key"] for row in rows} for logged, _, rows in found)


FRAME = pd.DataFrame(
    {
        "id": ["a", "b", "c"], "score": [0.5, float("nan"), 1.0], "n": pd.array([1, None, 3], "Int64"),
        "at": pd.Series([dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2, 3, 4, 5), None]),
        "f32": np.array([0.1, 0.2, 0.3], "f4"),
        "text": ["x", None, "z"], "flag": [True, False, True], "category": pd.Categorical(["u", "v", "u"]),
    }
)  # fmt: skip


@pytest.mark.parametrize("kind", ["pandas", "polars", "lazy", "pyarrow", "records", "columns"])
def test_a_frame_is_stored_as_its_records(kind: str) -> None:
    frames: dict[str, Callable[[], Any]] = {
        "pandas": lambda: FRAME,
        "polars": lambda: pl.from_pandas(FRAME),
        "lazy": lambda: pl.from_pandas(FRAME).lazy(),
        "pyarrow": lambda: pa.Table.from_pandas(FRAME),
        "records": lambda: FRAME[["id", "score", "flag"]].to_dict("records"),
        "columns": lambda: FRAME[["id", "score", "flag"]].to_dict("list"),
    }
    frame = frames[kind]()
    columns, plain = Columns(), Plain()
    here = stored(columns, columns.of_data(frame, "id", None, NOW, "run", PLAUSIBLE))
    there = stored(plain, plain.of_data(frame, "id", None, NOW, "run", PLAUSIBLE))
    assert as_text(here) == as_text(there)


def test_what_is_no_frame_or_lacks_a_column_is_refused_with_the_reason() -> None:
    for data, key, why in ((object(), None, "takes a pandas, Polars or PyArrow frame"), (FRAME, "no", "key='no'")):
        with pytest.raises(InputError, match=why):
            Plain().of_data(data, key, None, NOW, None, PLAUSIBLE)


def files() -> set[Path]:
    """The files of the client."""
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    named = [(ROOT / "client" / path).resolve() for path in included]
    return {file for path in named for file in ([path] if path.is_file() else path.rglob("*.py"))}


def test_the_client_has_all_that_its_files_load_and_no_other_package() -> None:
    has = {name for name, path in MODULES.items() if path in files()}
    for name in has - {"fourfold.model.records"}:  # which nothing of the client loads
        assert {found for found in loaded(MODULES[name]) if found.count(".")} <= has, name
    assert {SOURCE / "sdk" / f"{name}.py" for name in ("sender", "session", "plain", "tracking")} <= files()


PROGRAM = """
import sys
import fourfold as ff
ff.init(sys.argv[1], "test")

@ff.component
def featurize(flights):
    return [{**flight, "long": flight["distance"] > 1000} for flight in flights]

for flight in featurize([{"id": "AA1", "distance": 1400}, {"id": "UA7", "distance": 300}]):
    ff.log("predict", key=flight["id"], score=0.8 if flight["long"] else 0.3)
with ff.run("train", params={"depth": 6}) as run:
    run.metric("auc", 0.83)
    run.input("file", __file__)
ff.log("arrivals", {"id": ["AA1", "UA7"], "late": [True, False]}, key="id")
ff.task("late", prediction="predict.score", label="arrivals.late", threshold=0.5, slices={"far": "score > 0.5"})
for i in range(20_000):
    ff.log("many", key=i, **{f"feature{j}": i * j / 7 for j in range(20)})
    if i % 1_000 == 999:
        ff.flush()
assert not {"numpy", "pyarrow", "pandas"} & {name.partition(".")[0] for name in sys.modules}
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
MOST_INSTALLED, MOST_MEMORY = 60 << 20, 40 << 20


@pytest.mark.services
def test_alone_in_an_environment_it_logs_runs_and_declares(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT / "client")], check=True, env=environment)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], check=True, env=environment, capture_output=True
    ).stdout
    assert {found["name"] for found in json.loads(listed)} <= {"pip", "setuptools", "fourfold-client"}
    (package,) = (tmp_path / "venv").glob("lib/*/site-packages/fourfold")
    (tmp_path / "program.py").write_text(PROGRAM)
    with collector(tmp_path / "store", "--no-count", "--project", "test") as (_, address):
        ran = subprocess.run(
            [python, str(tmp_path / "program.py"), address], env={**environment, "FOURFOLD_SPOOL": str(tmp_path)},
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
    assert sum(path.stat().st_size for path in package.rglob("*")) < MOST_INSTALLED
    assert int(ran.stdout) * 1_024 < MOST_MEMORY
    store = Store(str(tmp_path / "store"), "test")
    assert store.metric("late", "recall")[0].value.value == 1
    assert store.metric("many", "rows")[0].value.value == 20_000
    assert store.metric("many.feature3", "max")[0].value.value == pytest.approx(19_999 * 3 / 7)
    store.close()
