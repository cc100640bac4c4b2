"""Law 3: DuckDB in this process and Spark on several partitions give identical counts, of anything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import fourfold as ff
from fourfold import config
from fourfold.engine import DuckDB, Engine, Extent, Folded, make_engine
from fourfold.engine.protocol import WHOLE
from fourfold.engine.spark import Spark, cut, few, joins, reading, records
from fourfold.errors import ConfigError, StoreError
from fourfold.fold import KeptSlices, Plan
from fourfold.model import ALL, HOUR, Dimension, Sums, Task
from fourfold.model.records import KEY
from fourfold.sdk import Session
from fourfold.store import Store
from tests.sessions import in_full
from tests.support import START, Comparable, Sender, close, comparable

pytestmark = pytest.mark.services

KINDS: dict[str, dict[str, Any]] = {
    "binary": {"version": "model", "threshold": 0.5},
    "multiclass": {"version": "model", "probabilities": "chances"},
    "multilabel": {},
    "regression": {"version": "model"},
    "ranking": {"query": "size", "cutoffs": [1, 3]},
    "decision": {"outcome": "outcomes.good"},
}
SLICES: list[Any] = [
    "side",
    "size",
    ["shape", "side"],
    {"column": "amount", "buckets": 4},
    {"name": "twice", "sql": "size * 2"},
]
MICROS = 1_000_000
CLASSES = ["cat", "dog", "o'wl"]


def task_of(kind: str) -> Task:
    slices = SLICES if kind == "binary" else SLICES[2:3]
    return config.make_task(
        "t", prediction="predict.score", label="labels.truth", kind=kind, horizon="3d", slices=slices, **KINDS[kind]
    )


def score_of(kind: str, random: np.random.Generator) -> Any:
    if random.random() < 0.05:
        return None
    match kind:
        case "multiclass" | "decision":
            return str(random.choice(CLASSES))
        case "multilabel":
            return [str(name) for name in random.choice(CLASSES, random.integers(0, 3), replace=False)]
        case "regression":
            return float(random.choice([0.0, -2.5, float(random.normal()), 1e9]))
    return float(np.round(random.random(), 2))


def predictions(kind: str, n: int, random: np.random.Generator, *, first: int = 0) -> list[dict[str, Any]]:
    """Records with keys of which some are repeated, and one has a third of them all."""
    return [
        {
            "key": "often" if random.random() < 0.3 else f"k{random.integers(first, first + n)}",
            "time": START + int(random.integers(0, 40)) * HOUR,
            "log_time": START + first + i,
            "score": score_of(kind, random),
            "side": ("a", "b", "Ürümqi'", None)[random.integers(4)],
            "shape": str(random.choice(["x", "y"])),
            "size": float(random.choice([1.0, 2.0, 0.1 + 0.2, 1e20, -0.0, float("nan")])),
            "amount": None if random.random() < 0.1 else float(random.gamma(2.0, 50.0)),
            "model": str(random.choice(["v1", "v2"])),
            "many": f"value {random.integers(0, 400)}",
            "number": int(random.integers(0, 5)),
            "vector": [float(x) for x in random.normal(size=random.choice([2, 2, 3]))],
            "chances": {name: float(random.random()) for name in CLASSES},
            "yes": bool(random.random() < 0.5),
        }
        for i in range(n)
    ]


def labels(kind: str, n: int, random: np.random.Generator, *, first: int = 0) -> list[dict[str, Any]]:
    def truth() -> Any:
        if kind in ("binary", "ranking"):
            return float(random.choice([0, 1, 1, 7])) if random.random() < 0.95 else None
        return score_of(kind, random)

    return [
        {
            "key": "often" if random.random() < 0.1 else f"k{random.integers(first, first + n)}",
            "time": START + int(random.integers(0, 140)) * HOUR,
            "log_time": START + first + i,
            "truth": truth(),
        }
        for i in range(n)
    ]


class Folds:
    """Folds the changes of a store's streams on one engine, adding up what it fixes on the way."""

    def __init__(self, engine: Engine, store: Store, task: Task | None = None, slices: Any = SLICES) -> None:
        self.engine, self.store, self.task = engine, store, task
        self.plan = Plan()
        self.at: dict[str, int] = {}
        self.kept: dict[Dimension, KeptSlices] = {ALL: KeptSlices()}
        dimensions = (
            task.slices
            if task is not None
            else config.make_task(
                "s", prediction="predict.score", label="labels.truth", kind="binary", slices=slices
            ).slices
        )
        self.kept |= {dimension: KeptSlices() for dimension in dimensions}

    def fold(self, extent: Extent = WHOLE) -> Folded:
        streams = ["predict"] if self.task is None else list(self.task.streams)
        logs = {stream: self.store.reader.log(stream) for stream in streams}
        changes = {stream: log.changes(self.at.get(stream)) for stream, log in logs.items()}
        self.kept = {d: self.engine.kept_slices(changes["predict"], d, kept) for d, kept in self.kept.items()}
        if self.task is None:
            folded = self.engine.fold_stream(changes["predict"], self.kept, self.plan, extent)
        else:
            folded = self.engine.fold_task(self.task, changes, self.kept, self.plan, extent)
        self.plan = folded.plan
        self.at = {stream: change.version for stream, change in changes.items() if change.version >= 0}
        return folded


def agree(one: Folds, other: Folds, extent: Extent = WHOLE, *, sums: bool = True) -> None:
    mine, theirs = one.fold(extent), other.fold(extent)
    assert mine.counts.num_rows
    assert one.kept == other.kept
    assert mine.plan == theirs.plan
    left, right = (_changed(comparable(folded.counts), sums) for folded in (mine, theirs))
    assert left.keys() == right.keys()
    different = {key: (left[key], right[key]) for key in left if not close({key: left[key]}, {key: right[key]}, 1e-8)}
    assert not different, f"{len(different)}: {list(different.items())[:3]}"


def _changed(found: Comparable, sums: bool) -> Comparable:
    """Counts without those that came to nothing; what is subtracted leaves sums the rounding of what was added."""
    return {
        key: entry if sums else {**entry, "sums": []}
        for key, entry in found.items()
        if any(entry["tallies"]) or entry["counts"]
    }


def logged(store: Store, stream: str, rows: list[dict[str, Any]], files: int) -> None:
    sender = Sender(store)
    for part in range(files):
        sender.records(stream, rows[part::files])
        store.writer.collect()


@pytest.fixture
def partitions(request: pytest.FixtureRequest, spark: Any) -> Iterator[int]:
    """Into how many partitions Spark reads and shuffles, and about how many parts a task is joined in."""
    n: int = request.param
    settings: dict[str, Any] = {
        "spark.sql.files.minPartitionNum": n, "spark.sql.shuffle.partitions": n,
        "spark.sql.adaptive.coalescePartitions.enabled": False,
    }  # fmt: skip
    if n == 2:
        settings |= {"spark.sql.codegen.wholeStage": True, "spark.sql.codegen.factoryMode": "FALLBACK"}
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    with pytest.MonkeyPatch.context() as patch:
        if n > 1:  # several tasks join, and are given what others read in several pieces
            patch.setattr(joins, "BYTES_A_PART", 20_000 // n)
            patch.setattr(cut, "HELD", 200 // n)
        yield n
    for name, earlier in before.items():
        spark.conf.unset(name) if earlier is None else spark.conf.set(name, earlier)


@pytest.mark.parametrize(
    ("kind", "partitions"), [("binary", 2), *((kind, n) for kind in KINDS for n in (1, 7))], indirect=["partitions"]
)
def test_a_task_has_the_same_counts_on_both_engines(
    request: pytest.FixtureRequest,
    spark: Any,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    partitions: int,
) -> None:
    if (kind, partitions) not in (("binary", 2), ("ranking", 1)):
        in_full(request)
    if partitions == 1:  # Spark reads the files, and earlier records travel whatever their keys
        monkeypatch.setattr(reading, "is_direct", lambda log: False)
        monkeypatch.setattr(joins, "FEW", 0)
    random, task = np.random.default_rng(7), task_of(kind)
    if kind == "regression":
        sums = Sums("cost", (("a", "actual * prediction.amount"), ("b", "score + delay")))
        task = dataclasses.replace(task, sums=(sums,))
    logged(store, "predict", predictions(kind, 300, random), partitions)
    logged(store, "labels", labels(kind, 200, random), partitions)
    if kind == "decision":
        outcomes = [{"key": f"k{i}", "time": START, "log_time": START + i, "good": float(i % 3)} for i in range(100)]
        logged(store, "outcomes", outcomes, partitions)
    one, other = Folds(DuckDB(), store, task), Folds(make_engine("spark"), store, task)
    agree(one, other)
    logged(store, "predict", predictions(kind, 40, random, first=280), 1)  # late, repeated and corrected
    logged(store, "labels", labels(kind, 90, random, first=250), 2)
    store.reader.log("predict").delete(["often", "k3", "k290"])
    store.reader.log("labels").delete(["k5"])
    agree(one, other, sums=False)


WAYS: dict[str, tuple[Any, str, Any]] = {
    "read by the executors": (few, "RECORDS", 0),
    "where many keys are repeated": (records, "FEW", 0),
    "read by Spark": (reading, "is_direct", lambda log: False),
    "on the driver": (few, "RECORDS", 10_000),
}


@pytest.mark.parametrize(
    ("partitions", "way"), [(2, "read by the executors"), *((n, way) for n in (1, 7) for way in WAYS)]
)
def test_a_stream_has_the_same_counts_on_both_engines(
    request: pytest.FixtureRequest,
    spark: Any,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    partitions: int,
    way: str,
) -> None:
    if partitions == 1:
        in_full(request)
    monkeypatch.setattr(*WAYS[way])
    if way == "on the driver":
        monkeypatch.setattr(Spark, "_session", lambda self: pytest.fail("the cluster was asked"))
    random = np.random.default_rng(8)
    logged(store, "predict", predictions("binary", 600, random), partitions)
    one, other = Folds(DuckDB(), store), Folds(make_engine("spark"), store)
    agree(one, other)
    more = [{**row, "new": 1.5} for row in predictions("binary", 80, random, first=590)]  # in half of the files
    logged(store, "predict", more, 1)
    store.reader.log("predict").delete(["often", "k7"])
    agree(one, other, sums=False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("extent", [Extent(as_of=(START + 300) * MICROS), Extent(closed=(START + 20 * HOUR) * MICROS)])
def test_part_of_a_stream_has_the_same_counts_on_both_engines(
    spark: Any, store: Store, monkeypatch: pytest.MonkeyPatch, extent: Extent, way: str
) -> None:
    monkeypatch.setattr(*WAYS[way])
    random = np.random.default_rng(9)
    logged(store, "predict", predictions("binary", 400, random), 3)
    one, other = (Folds(engine, store, slices=SLICES[2:3]) for engine in (DuckDB(), make_engine("spark")))
    agree(one, other, extent)
    logged(store, "predict", predictions("binary", 50, random, first=250), 1)
    store.reader.log("predict").delete(["often", "k7"])
    agree(one, other, extent, sums=False)


def test_keys_that_come_once_are_looked_for_no_further(
    spark: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CountRepetitions", lambda *given: pytest.fail("keys were taken for repeated"))
    one, other = (Folds(engine, store, slices=[]) for engine in (DuckDB(), make_engine("spark")))
    for first in (0, 20):
        rows = [{"key": f"k{i}", "time": START, "log_time": START + i, "score": 0.5} for i in range(first, first + 20)]
        logged(store, "predict", rows, 2)
        agree(one, other)


def test_a_frame_of_the_cluster_is_logged_by_its_executors(spark: Any, session: Session) -> None:
    frame = spark.range(0, 1_000, 1, 3).selectExpr(
        "concat('k', id) AS key", "timestamp_seconds(1700000000 + id) AS at", "id / 7 AS score", "id % 3 AS side"
    )
    ff.log("predict", frame, key="key", time="at")
    ff.flush()
    session.store.writer.catch_up()
    records = session.store.reader.log("predict").whole().records(pc.field(KEY).is_valid())
    assert sorted(records[KEY].to_pylist()) == sorted(f"k{i}" for i in range(1_000))
    assert not list((Path(session.store.folder) / "staged").iterdir())
    assert ff.metric("predict", "rows").value.value == 1_000


def test_a_frame_that_names_no_key_is_a_warning(spark: Any, session: Session, caplog: pytest.LogCaptureFixture) -> None:
    ff.log("predict", spark.range(5), key="absent")
    assert "key='absent' is not a column" in caplog.text


def test_a_frame_of_the_cluster_is_counted_where_it_is(spark: Any, session: Session) -> None:
    frame = spark.range(0, 1_000, 1, 3).selectExpr("id / 7 AS x", "CAST(id % 3 AS STRING) AS side")

    @ff.component
    def featurize(numbers: Any) -> Any:
        return numbers

    featurize(frame)
    ff.flush()
    session.store.writer.catch_up()
    assert ff.metric("featurize.output.x", "mean").value.value == pytest.approx(999 / 14, rel=0.01)
    assert ff.metric("featurize.output", "rows").value.value == 1_000


def test_a_slice_that_fails_is_told_shortly(spark: Any, store: Store) -> None:
    logged(store, "predict", [{"key": "a", "time": START, "log_time": START, "score": 0.5, "side": "no number"}], 1)
    (wrong,) = config.make_task(
        "t", prediction="predict.score", label="labels.truth", slices=[{"name": "n", "sql": "CAST(side AS INT)"}]
    ).slices
    log = store.reader.log("predict").whole()
    with pytest.raises(ConfigError) as error:
        make_engine("spark").kept_slices(log, wrong, KeptSlices())
    assert "no number" in str(error.value)
    assert len(str(error.value)) < 200
    with pytest.raises(ConfigError, match="no number"):
        make_engine("spark").fold_stream(log, {wrong: KeptSlices()}, Plan())


def test_an_error_within_the_kernel_is_told_in_a_line(spark: Any, store: Store) -> None:
    logged(store, "predict", [{"key": "a", "time": START, "log_time": START, "score": 0.5}], 1)
    log = store.reader.log("predict").whole()
    Path(log.added[0]).write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(StoreError) as error:
        make_engine("spark").kept_slices(log, task_of("binary").slices[0], KeptSlices())
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_table_with_deletion_vectors_is_refused(store: Store) -> None:
    logged(store, "predict", [{"key": "a", "time": START, "log_time": START, "score": 0.5}], 1)
    log = store.reader.log("predict")
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}
    version = log.whole().version + 1
    (log.folder / "_delta_log" / f"{version:020d}.json").write_text(json.dumps(protocol))
    with pytest.raises(StoreError, match="deletionVectors"):
        log.whole()
