"""The index of keys beside each data file: it says where records are, and changes no count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fourfold import config
from fourfold.engine.spark import few
from fourfold.log import Changes, keys
from fourfold.model import DAY, HOUR, Owner
from fourfold.model.records import KEY
from fourfold.store import Store
from tests.services import place
from tests.support import START, Comparable, Sender, comparable, stored

SCHEMA = pa.schema([(KEY, pa.string()), ("x", pa.int64()), ("later", pa.float64())])
TASKS = (
    config.make_task("late", prediction="p.score", label="l.y", slices=["side"], version="model", horizon="3d"),
    config.make_task("search", prediction="p.score", label="l.y", kind="ranking", query="side"),
)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two data files of several row groups; keys are missing, repeated, and some are in both."""
    rng = np.random.default_rng(3)
    paths = []
    for number in range(2):
        names = [None if i % 50 == 0 else f"k{i}é" for i in rng.integers(0, 400, 500)]
        table = pa.table({KEY: pa.array(names, pa.string()), "x": np.arange(500) + 1_000 * number})
        paths.append(str(tmp_path / f"part {number}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=60)
    return paths


def test_the_records_of_keys_are_all_found_and_no_others(files: list[str]) -> None:
    whole = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    for wanted in ([f"k{i}é" for i in range(0, 400, 37)], ["nobody"], ["k1é", "", "nobody"], []):
        for _ in range(2):  # the second time from the indices that were written
            found = keys.records_of(files, pa.array(wanted, pa.string()), SCHEMA, [KEY, "x", "later"])
            assert found is not None and found.schema == SCHEMA
            expected = [{**row, "later": None} for row in whole if row[KEY] in wanted]
            assert sorted(found.to_pylist(), key=lambda row: row["x"]) == expected


def test_only_row_groups_that_hold_a_key_are_read(files: list[str]) -> None:
    table = pq.read_table(files[0])
    at = next(i for i, key in enumerate(table[KEY].to_pylist()) if key and table[KEY].to_pylist().count(key) == 1)
    places = keys._places(files[:1], pa.array([table[KEY][at].as_py()]))
    assert places == {files[0]: [at // 60]}
    assert keys._places(files, pa.array(["nobody"])) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content, other: content[:-8],
        lambda content, other: content[:20],
        lambda content, other: b"",
        lambda content, other: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content, other: other,
        lambda content, other: content[:32] + np.frombuffer(content[32:], np.uint64)[::-1].tobytes(),
    ],
)
def test_an_index_that_is_damaged_or_of_another_file_is_made_anew(files: list[str], damage: Any) -> None:
    pq.write_table(pq.read_table(files[1]).slice(0, 300), files[1], row_group_size=60)  # of another size
    wanted = pa.array([f"k{i}é" for i in range(0, 400, 3)])
    expected = keys.records_of(files, wanted, SCHEMA, [KEY, "x"])
    paths = [Path(file).parent / keys.FOLDER / f"{Path(file).name}.keys" for file in files]
    contents = [path.read_bytes() for path in paths]
    paths[0].write_bytes(damage(*contents))
    assert keys.records_of(files, wanted, SCHEMA, [KEY, "x"]) == expected
    assert paths[0].read_bytes() == contents[0]


def test_where_no_index_can_be_written_or_most_is_wanted_all_is_read(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = pa.array([f"k{i}é" for i in range(300)])
    assert keys.records_of(files, many, SCHEMA, [KEY]) is not None
    monkeypatch.setattr(keys, "FEW", 100)
    assert keys.records_of(files, many, SCHEMA, [KEY]) is None, "too many keys"
    assert keys.records_of(files, many[:60], SCHEMA, [KEY]) is None, "in too many records"
    strangers = pa.array([f"none{i}" for i in range(100)])
    assert keys.records_of(files, strangers, SCHEMA, [KEY]) is not None
    monkeypatch.setattr(keys, "LOOKUPS", 0.1)
    assert keys.records_of(files, strangers, SCHEMA, [KEY]) is None, "too many to look up in each file"
    keys.prune(Path(files[0]).parent, [])
    (Path(files[0]).parent / keys.FOLDER).rmdir()
    (Path(files[0]).parent / keys.FOLDER).write_text("no folder")
    assert keys.records_of(files, many[:1], SCHEMA, [KEY]) is None


def test_an_index_takes_eight_bytes_a_record_and_goes_with_its_file(files: list[str]) -> None:
    keys.records_of(files, pa.array(["k1é"]), SCHEMA, [KEY])
    folder = Path(files[0]).parent / keys.FOLDER
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    with_key = [len(pq.read_table(file)[KEY].drop_null()) for file in files]
    assert sizes == {f"part {i}.parquet.keys": 32 + 8 * with_key[i] for i in range(2)}
    keys.prune(folder.parent, files[1:])
    assert [path.name for path in folder.iterdir()] == ["part 1.parquet.keys"]


def test_indices_of_replaced_and_erased_files_are_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few, "RECORDS", 1_000)  # a cluster has no use for an index, its driver has
    sender = Sender(store)
    for turn in range(3):
        record = {"key": f"k{turn % 2}", "time": START, "log_time": START + turn, "x": turn}
        sender.records("p", [record, {**record, "key": f"only {turn}"}])
        store.writer.catch_up()
    log = store.reader.log("p")

    def indexed() -> set[str]:
        return {path.name.removesuffix(".keys") for path in (log.folder / keys.FOLDER).iterdir()}

    assert len(indexed()) == 2, "of those that stood before the last batch"
    assert log.compact(at_least=2)
    assert not indexed()
    sender.records("p", [{"key": "k1", "time": START, "log_time": START + 9, "x": 9}])
    store.writer.catch_up()
    assert 1 <= len(indexed()) <= 3, "what was compacted is looked up again"
    store.writer.forget_keys(["k1"])
    assert indexed() <= {Path(file).name for file in log.whole().added}


@contextmanager
def asked_of_duckdb() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fourfold.engine.duckdb.files.SMALL", -1)
        yield


@contextmanager
def without_index() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Changes, "before_with", lambda self, keys, columns, most=None: None)
        yield


def history(store: Store, way: Callable[[], AbstractContextManager[object]] = nullcontext) -> list[Comparable]:
    """Predictions and labels in small batches, repeated, corrected, withdrawn, deleted and compacted between folds.

    The first batches, from which the binnings are chosen, are folded in the usual way.
    """
    rng = np.random.default_rng(11)
    sender, log_time = Sender(store), START
    for task in TASKS:
        sender.task(task)
    for turn in range(4):
        for stream, names in (("p", ("score", "side", "model")), ("l", ("y",))):
            rows = []
            for number in rng.integers(0, 12, 8):
                log_time += 1
                values = {
                    "score": float(rng.integers(0, 5)) / 4,
                    "side": str(rng.choice(["a", "b"])),
                    "model": str(rng.choice(["v1", "v2"])),
                    "y": None if rng.random() < 0.2 else int(rng.integers(0, 2)),
                }
                row = {"key": f"k{number}", "time": START + int(rng.integers(0, 90)) * HOUR, "log_time": log_time}
                rows.append({**row, **{name: values[name] for name in names}})
            sender.records(stream, rows)
        with way() if turn else nullcontext():
            store.writer.catch_up()
            if turn == 1:
                store.writer.delete("l", ["k1", "k2"])
                store.writer.delete("p", ["k2"])
        if turn == 2:
            assert store.reader.log("p").compact(at_least=2)
    owners = (Owner.of_stream("p"), Owner.of_stream("l"), Owner.of_task("late"), Owner.of_task("search"))
    return [comparable(stored(store, owner, level), extremes=False) for owner in owners for level in (HOUR, DAY)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Comparable]:
    """The counts of that history where the index is used."""
    store = Store(place(tmp_path_factory.mktemp("expected")), "test")
    counts = history(store)
    assert any((store.reader.log("p").folder / keys.FOLDER).iterdir()), "there is one"
    store.close()
    return counts


@pytest.mark.parametrize("way", [without_index, asked_of_duckdb])
def test_counts_are_the_same_without_an_index_and_where_duckdb_reads_all(
    store: Store, expected: list[Comparable], way: Any
) -> None:
    assert history(store, way) == expected
