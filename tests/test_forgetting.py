"""What is erased is gone with every copy, and what stays counted is neither taken back nor counted twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from fourfold import config
from fourfold.cli import app
from fourfold.errors import ConfigError, InputError, UnknownNameError
from fourfold.log import StorePath, StreamLog, opened, state_at
from fourfold.log.messages import Dropped
from fourfold.model import DAY, HOUR, Owner
from fourfold.reports.compare import compare
from fourfold.reports.problems import problems
from fourfold.reports.recount import differences
from fourfold.reports.streams import streams
from fourfold.reports.trace import trace
from fourfold.store import Store
from tests.services import place
from tests.support import START, Sender, comparable, stored

TASK = config.make_task("t", prediction="p.score", label="l.y", slices=["who"], horizon="2d")
CLOSED = START + 3 * DAY  # a midnight
NEEDLE = "needle-o'hara \\ 5°"


def test_the_bytes_of_an_erased_key_are_nowhere(store: Store) -> None:
    sender = filled(store)
    log = store.reader.log("p")
    log.compact(at_least=2)  # what was replaced still lies there
    sender.records("p", [prediction(NEEDLE, 1, who=NEEDLE, note=f"of {NEEDLE}")])  # waits in the inbox
    assert NEEDLE in everything_in(store)
    done = store.writer.forget_keys([NEEDLE])
    assert dict(done.records) == {"p": 2, "l": 1} and done.left == ()
    assert NEEDLE not in everything_in(store)
    assert store.metric("p", "rows").value.value == 19
    assert len(trace(store.caught_up(), "k18").steps) == 2
    assert {row.slice["who"] for row in store.metric("t", "predictions", by="who")} == {"a", "b"}


def test_the_counts_after_an_erasure_are_those_of_one_fold_without_the_records(store: Store, tmp_path: Path) -> None:
    filled(store)
    store.writer.forget_keys([NEEDLE, "k3"])
    other = Store(place(tmp_path / "other"), "test")
    filled(other, without={NEEDLE, "k3"})
    for owner in (Owner.of_stream("p"), Owner.of_stream("l"), Owner.of_task("t")):
        for level in (HOUR, DAY):
            here, there = (comparable(stored(s, owner, level), extremes=False) for s in (store, other))
            assert here == there
    other.close()


def test_only_the_named_stream_forgets_keys(store: Store) -> None:
    filled(store)
    assert dict(store.writer.forget_keys([NEEDLE], ["l"]).records) == {"l": 1}
    assert store.metric("p", "rows").value.value == 20
    assert store.metric("t", "coverage").value.value == 19 / 20


@pytest.mark.parametrize("keys", [[], [None], [5]])
def test_keys_that_are_none_are_refused(store: Store, keys: list[Any]) -> None:
    filled(store)
    with pytest.raises(InputError, match="key"):
        store.writer.forget_keys(keys)
    with pytest.raises(UnknownNameError):
        store.writer.forget_keys(["k"], ["nothing"])


def test_thousands_of_odd_keys_are_erased(store: Store) -> None:
    odd = ["", "'", "''; DROP TABLE run; --", '"', "\\", "\n", "%", "é", "a" * 500, *(f"k{i}'" for i in range(2_500))]
    sender = Sender(store)
    sender.records("p", [prediction(key, 0) for key in odd] + [prediction("stays", 0)])
    sender.records("p", [{**prediction("x", 0), "key": None}])
    assert dict(store.writer.forget_keys(odd).records) == {"p": len(odd)}
    assert sorted(store.reader.log("p").whole().records(pa.compute.scalar(True))["_ff_key"].to_pylist(), key=str) == [
        None, "stays",
    ]  # fmt: skip
    assert store.metric("p", "rows").value.value == 2


def test_a_key_is_erased_from_quarantine(store: Store) -> None:
    filled(store)
    table = pa.table({"id": ["x", NEEDLE], "deep": [[{"a": "b"}], [{"a": "c"}]]})
    store.reader.quarantine.keep("p", "one", table, "a reason")
    later = pa.array([2**58], pa.timestamp("us", "UTC"))  # than the year 9999, which Python has no moment for
    store.reader.quarantine.keep("p", "two", pa.table({"deep": [[{"a": NEEDLE}]], "n": later}), "a reason")
    (store.reader.quarantine.folder / "bad.parquet").write_bytes(b"no Parquet")
    (store.reader.quarantine.folder / "damaged.arrow").write_bytes(NEEDLE.encode())
    done = store.writer.forget_keys([NEEDLE])
    assert done.quarantined == 2
    assert {Path(text.split(" in quarantine")[0]).name for text in done.left} == {"bad.parquet", "damaged.arrow"}
    (entry,) = store.reader.quarantine.entries()
    assert entry.rows == 1 and pq.read_table(entry.path)["id"].to_pylist() == ["x"]
    assert store.writer.forget_keys([NEEDLE], force=True).left == ()
    assert NEEDLE not in everything_in(store)


def test_a_value_that_only_counts_hold_is_erased(store: Store) -> None:
    """A frame that a component passed on is not in the log, and its values are labels."""
    from fourfold.fold import Plan, fold
    from fourfold.log import messages
    from fourfold.model import Run, RunStatus

    run = Run("r1", "make", RunStatus.SUCCEEDED, START, params={"who": NEEDLE})
    sender = filled(store)
    sender.inbox.put("w", 1, messages.counted("test", "make.out", run, Plan()), fold(pa.table({"id": [NEEDLE, "b"]})))
    sender.inbox.put("w", 2, messages.runs("test", [messages.run_text(run)]))
    done = store.writer.forget_keys([NEEDLE])
    assert done.left == ("run r1 mentions a key: it is kept with its parameters and error",)
    (row,) = stored(store, Owner.of_stream("make.out")).to_pylist()
    assert (row["labels"], row["tallies"]) == (["b"], [2, 0, 1])


def test_another_process_that_had_the_log_open_goes_on(store: Store) -> None:
    filled(store)
    reader = Store(store.place, "test")
    assert reader.metric("p", "rows").value.value == 20
    store.writer.forget_keys([NEEDLE])
    Sender(reader).records("p", [prediction("new", 1)])
    assert reader.metric("p", "rows").value.value == 20
    assert store.metric("p", "rows").value.value == 20
    left = store.reader.log("p").whole().records(pa.compute.scalar(True))["_ff_key"].to_pylist()
    assert sorted(left) == sorted(["new", *(f"k{i}" for i in range(19))])
    reader.close()


@pytest.mark.parametrize("dies", ["delete", "seal", "cut_past"])
@pytest.mark.parametrize("what", ["keys", "before"])
def test_an_erasure_that_dies_half_way_is_finished_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch, dies: str, what: str
) -> None:
    filled(store)
    before = comparable(stored(store, Owner.of_task("t")))

    def forget(of: Store) -> None:
        of.writer.forget_keys([NEEDLE]) if what == "keys" else of.writer.forget_before("p", CLOSED)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        name = "delete_before" if (dies, what) == ("delete", "before") else dies
        patched.setattr(StreamLog, name, die)
        with pytest.raises(KeyboardInterrupt):
            forget(store)
    another = Store(store.place, "test")
    another.writer.fold()
    if what == "before":
        assert comparable(stored(another, Owner.of_task("t"))) == before
    forget(another)
    assert (NEEDLE in everything_in(store)) == (what == "before")
    if what == "before":
        assert comparable(stored(another, Owner.of_task("t"))) == before
        assert another.reader.log("p").rows == 8
    another.close()


def test_old_records_go_and_their_counts_stay(store: Store) -> None:
    filled(store)
    before = {
        owner: comparable(stored(store, owner))
        for owner in (Owner.of_stream("p"), Owner.of_stream("l"), Owner.of_task("t"))
    }
    done = store.writer.forget_before("p", CLOSED + 5 * HOUR)  # the day is not cut
    assert dict(done.records) == {"p": 12} and done.counts == "kept" and done.before is not None
    assert int(done.before.timestamp()) == CLOSED
    assert store.reader.log("p").rows == 8
    assert {owner: comparable(stored(store, owner)) for owner in before} == before
    store.close()
    again = Store(store.place, "test")
    again.writer.fold()
    assert {owner: comparable(stored(again, owner)) for owner in before} == before
    again.close()


def test_what_comes_for_a_forgotten_prediction_changes_nothing(store: Store) -> None:
    sender = filled(store)
    store.writer.forget_before("p", CLOSED)
    before = comparable(stored(store, Owner.of_task("t")))
    sender.records("l", [label("k0", 1, 0, log_time=50), label("k1", 2, None, log_time=50)])  # corrected, withdrawn
    sender.records("p", [prediction("k2", 0, score=0.1)])  # repeated
    store.writer.catch_up()
    assert comparable(stored(store, Owner.of_task("t"))) == before


def test_what_is_not_forgotten_is_counted_as_ever(store: Store) -> None:
    sender = filled(store)
    store.writer.forget_before("p", CLOSED)
    known = store.metric("t", "base_rate").value
    assert (known.n, known.value) == (20, 1.0)
    sender.records("l", [label("k16", 4, 0, log_time=50)])
    assert store.metric("t", "base_rate").value.value == 0.95
    sender.records("p", [prediction("new", 4)])
    sender.records("l", [label("new", 4, 0)])
    assert store.metric("t", "base_rate").value.value == 19 / 21
    store.writer.delete("l", ["new", "k16"])
    assert store.metric("t", "coverage").value.value == 19 / 21


def test_forgotten_labels_do_not_make_their_predictions_count_anew(store: Store) -> None:
    sender = filled(store)
    store.writer.forget_before("l", CLOSED)
    before = comparable(stored(store, Owner.of_task("t")))
    sender.records("l", [label("k0", 5, 0, log_time=90)])  # its first label is forgotten
    store.writer.catch_up()
    assert comparable(stored(store, Owner.of_task("t"))) == before
    assert store.metric("t", "coverage").value.value == 1.0


def test_counts_that_begin_anew_keep_what_the_log_has_forgotten(store: Store) -> None:
    sender = filled(store)
    store.writer.forget_before("p", CLOSED)
    before = {
        owner: comparable(stored(store, owner), extremes=False) for owner in (Owner.of_stream("p"), Owner.of_task("t"))
    }
    sender.records("p", [{**prediction("wide", 4), "n": 1}])
    sender.records("p", [{**prediction("wider", 4), "n": 1.5}])  # all files are written anew: counted from the start
    store.writer.collect()
    store.writer.fold()
    after = comparable(stored(store, Owner.of_stream("p")), extremes=False)
    assert {k: v for k, v in after.items() if k[0] != "n" and k[3] < CLOSED} == {
        k: v for k, v in before[Owner.of_stream("p")].items() if k[3] < CLOSED
    }
    assert store.metric("p", "rows").value.value == 22
    assert store.metric("t", "predictions").value.value == 22


def test_old_records_go_with_their_counts_where_that_is_asked(store: Store) -> None:
    filled(store)
    store.writer.forget_before("p", CLOSED - DAY)
    store.writer.forget_before("p", CLOSED, counts=True)
    assert store.metric("p", "rows").value.value == 8
    assert store.metric("t", "predictions").value.value == 8
    assert min(stored(store, Owner.of_stream("p"))["bucket"].to_pylist()) == CLOSED


def test_what_was_forgotten_is_not_asked_of_the_log(store: Store) -> None:
    filled(store)
    store.writer.forget_before("p", CLOSED)
    for as_of, start in ((CLOSED - 1, None), (CLOSED + DAY, CLOSED - DAY)):
        with pytest.raises(InputError, match="were erased"):
            store.metric("t", "recall", as_of=as_of, start=start)
    assert store.metric("t", "predictions", as_of=START + 99 * DAY).value.value == 8
    assert store.metric("t", "predictions", start=START, end=CLOSED).value.value == 12
    (orphan,) = [problem for problem in problems(_with_orphan(store).caught_up()) if problem.kind == "orphan_labels"]
    assert "'nobody'" in orphan.message and "'k0'" not in orphan.message


def _with_orphan(store: Store) -> Store:
    Sender(store).records("l", [label("nobody", 8, 1)])
    return store


def test_a_log_that_cannot_be_read_is_not_forgotten_and_stops_no_question(tmp_path: Path) -> None:
    store = Store(place(tmp_path / "store"), "test")
    sender = filled(store)
    for path in store.reader.log("l").folder.glob("*.parquet"):
        path.unlink()
    store.reader.retention["l"] = DAY
    sender.records("p", [prediction("new", 4)])
    store.writer.catch_up()
    assert store.metric("p", "rows").value.value == 21
    assert {view.name: view.forgotten_before for view in streams(store.caught_up())} == {"p": None, "l": None}
    store.close()


def test_a_half_written_message_is_named(store: Store) -> None:
    filled(store)
    (store.folder / "inbox" / ".w-000000000001.arrow").write_bytes(NEEDLE.encode())
    assert ".w-000000000001.arrow" in store.writer.forget_keys([NEEDLE]).left[0]


def test_what_is_sent_meanwhile_is_not_meant(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = filled(store)
    seal = StreamLog.seal

    def sealed(log: StreamLog) -> None:
        sender.records("p", [prediction(NEEDLE, 1, who="a")])
        seal(log)

    with monkeypatch.context() as patch:
        patch.setattr(StreamLog, "seal", sealed)
        assert store.writer.forget_keys([NEEDLE]).left == ()
    assert store.writer.forget_keys([NEEDLE]).records["p"] == 2


def test_a_label_beyond_those_kept_is_taken_back_from_the_others(store: Store) -> None:
    sender = Sender(store)
    texts = [f"{i:03d}" for i in range(300)]
    sender.records("p", [prediction(text, 0, text=text) for text in texts * 2])  # 256 kept, and 44 others
    sender.records("p", [prediction("more", 0, text="000")])
    store.writer.catch_up()
    store.writer.forget_keys(["299", "298", "000"])
    (row,) = [row for row in stored(store, Owner.of_stream("p")).to_pylist() if row["column"] == "text"]
    assert min(row["counts"]) > 0
    assert sum(row["counts"]) + row["tallies"][2] == row["tallies"][0] == 601 - 6
    assert not {"299", "298"} & set(row["labels"])


@pytest.mark.parametrize("kind", ["ranking", "multiclass", "regression", "decision"])
def test_tasks_of_every_kind_keep_what_was_counted(store: Store, kind: str) -> None:
    more: dict[str, Any] = {"query": "who", "cutoffs": [1]} if kind == "ranking" else {}
    if kind == "decision":
        more = {"outcome": "o.good"}
    sender = Sender(store)
    task = config.make_task("t", prediction="p.score", label="l.y", kind=kind, horizon="2d", **more)
    sender.task(dataclasses.replace(task, slices=()))
    for day in range(6):
        sender.records("p", [prediction(f"{day}-{i}", day, who=f"q{day}") for i in range(3)])
        sender.records("l", [label(f"{day}-{i}", day, i % 2) for i in range(3)])
        sender.records("o", [{"key": f"{day}-0", "time": START + day * DAY, "log_time": START, "good": 1.0}])
    store.writer.catch_up()
    before = comparable(stored(store, Owner.of_task("t")))
    store.writer.forget_before("p", CLOSED)
    assert comparable(stored(store, Owner.of_task("t"))) == before
    sender.records("l", [label("1-0", 1, 1, log_time=99), label("1-2", 4, 1, log_time=99)])
    store.writer.catch_up()
    assert comparable(stored(store, Owner.of_task("t"))) == before
    store.writer.delete("p", [f"{day}-{i}" for day in range(6) for i in range(3)])
    left = stored(store, Owner.of_task("t")).filter(
        pa.compute.less(stored(store, Owner.of_task("t"))["bucket"], CLOSED)
    )
    assert comparable(left) == {key: entry for key, entry in before.items() if key[3] < CLOSED}


def test_a_query_that_began_before_is_counted_as_it_is(store: Store) -> None:
    sender = Sender(store)
    sender.task(config.make_task("t", prediction="p.score", label="l.y", kind="ranking", query="who", cutoffs=[1]))
    sender.records("p", [prediction("old", 2, who="q"), prediction("new", 3, who="q")])
    sender.records("l", [label("old", 3, 1), label("new", 3, 1)])
    store.writer.catch_up()
    store.writer.forget_before("p", CLOSED)
    assert store.metric("t", "predictions").value.value == 1
    assert min(min(row) for row in stored(store, Owner.of_task("t"))["tallies"].to_pylist()) >= 0


def test_a_slice_that_is_asked_for_later_has_what_the_log_still_holds(store: Store) -> None:
    sender = filled(store)
    store.writer.forget_before("p", CLOSED)
    sender.task(dataclasses.replace(TASK, slices=(*TASK.slices, config.make_task(
        "x", prediction="p.score", label="l.y", slices=["note"]).slices[0])))  # fmt: skip
    store.writer.catch_up()
    assert sum(row.value.value or 0 for row in store.metric("t", "predictions", by="note")) == 8
    assert compare(store.caught_up(), {"who": "a"}, {"who": "b"}).n == (4, 3)


def test_retention_is_applied_by_whoever_folds_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Store(place(tmp_path / "store"), "test")
    filled(plain)
    plain.writer.fold()
    before = comparable(stored(plain, Owner.of_task("t")))
    Path("fourfold.toml").write_text('[stream.p]\nretention = "10d"\n[stream.later]\nretention = "1d"')
    monkeypatch.setattr("fourfold.ingest.writer.time.time", lambda: CLOSED + 10 * DAY + HOUR)
    kept = Store(place(tmp_path / "store"), "test", retention=config.load().retention)
    kept.writer.fold()
    monkeypatch.setattr(opened, "_LOOK_AGAIN", 0.0)  # in a bucket, the number may else be a minute old
    assert plain.reader.log("p").rows == 8
    assert comparable(stored(kept, Owner.of_task("t"))) == before
    version = kept.reader.log("p").version
    kept.writer.fold()
    plain.writer.fold()  # knows of no retention, and takes nothing back
    assert kept.reader.log("p").version == version  # once a day
    assert comparable(stored(plain, Owner.of_task("t"))) == before
    view = next(view for view in streams(kept.caught_up()) if view.name == "p")
    assert (view.forgotten_before, view.retention) == (CLOSED, 10 * DAY)
    assert [p.kind for p in problems(kept.caught_up())] == []
    kept.reader.retention["p"] = DAY
    assert "short_retention" in {problem.kind for problem in problems(kept.caught_up())}
    for each in (plain, kept):
        each.close()


@pytest.mark.parametrize(
    "text", ['retention = "400"', 'retention = "12h"', "retention = 5", 'keep = "400d"', "retention = true"]
)
def test_a_retention_that_cannot_be_is_refused(text: str) -> None:
    Path("fourfold.toml").write_text(f"[stream.predict]\n{text}")
    with pytest.raises(ConfigError, match=r"stream\.predict"):
        config.load()
    Path("fourfold.toml").write_text("stream = 5")
    with pytest.raises(ConfigError, match="retention"):
        config.load()


def test_the_command_asks_before_it_erases(store: Store) -> None:
    filled(store)
    store.writer.catch_up()
    base = ["forget", "--store", str(store.folder), "--project", "test"]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*base, *arguments])

    for misuse in ([], ["--keys", "k1"], ["--before", "2024-01-01", "--yes"], ["--stream", "p", "--yes"],
                   ["--keys", "k1", "--stream", "p", "--before", "2024-01-01"], ["--keys", "k1", "--counts", "--yes"],
                   ["--keys-from", "no-such-file", "--yes"]):  # fmt: skip
        assert isinstance(run(*misuse).exception, InputError), misuse
    assert "erases 2 records (l 1, p 1)" in str(run("--keys", "k1").exception)
    assert store.metric("p", "rows").value.value == 20
    Path("keys.txt").write_text("k2\nk3\n")
    found = run("--keys", "k1", "k4", "--keys-from", "keys.txt", "--yes", "--json")
    assert found.exit_code == 0
    assert json.loads(found.output)["rows"][0]["records"] == {"p": 4, "l": 4}
    assert store.metric("p", "rows").value.value == 16
    found = run("--stream", "p", "--before", "2023-11-16", "--yes")
    assert found.exit_code == 0 and "counts stay" in found.output
    assert store.metric("p", "rows").value.value == 16
    (store.folder / "quarantine").mkdir(exist_ok=True)
    (store.folder / "quarantine" / "x.arrow").write_bytes(b"?")
    assert run("--keys", "k1", "--yes").exit_code == 3
    assert run("--keys", "k1", "--yes", "--force").exit_code == 0


def filled(store: Store, without: set[str] | frozenset[str] = frozenset()) -> Sender:
    """Twenty predictions, four a day, with labels an hour later, one of them of the key NEEDLE."""
    sender = Sender(store)
    sender.task(TASK)
    keys = [*(f"k{i}" for i in range(19)), NEEDLE]
    for day in range(5):
        mine = [key for key in keys[day * 4 : day * 4 + 4] if key not in without]
        who = [NEEDLE if key == NEEDLE else "ab"[keys.index(key) % 2] for key in mine]
        sender.records("p", [prediction(key, day, who=w, note=f"of {key}") for key, w in zip(mine, who, strict=True)])
        sender.records("l", [label(key, day, 1) for key in mine])
        store.writer.catch_up()
    return sender


def prediction(key: str, day: int, score: float = 0.9, **columns: Any) -> dict[str, Any]:
    return {"key": key, "time": START + day * DAY, "log_time": START + day * DAY, "score": score, **columns}


def label(key: str, day: int, y: int | None, log_time: int | None = None) -> dict[str, Any]:
    logged = day if log_time is None else log_time
    return {"key": key, "time": START + day * DAY + HOUR, "log_time": START + logged * DAY, "y": y}


def everything_in(store: Store) -> str:
    """All that can be read of a store, and of a state in files: bytes, and the values within Parquet files."""
    found = []
    for path in sorted({*files_in(store.folder), *files_in(state_at(store.place)[1])}, key=str):
        content = path.read_bytes()
        found.append(content.decode(errors="replace"))
        if path.suffix == ".parquet" and path.name != "bad.parquet":
            table = pq.read_table(pa.BufferReader(content))
            found.append(json.dumps(table.to_pylist(), default=str, ensure_ascii=False))
    return "\n".join(found).replace("\\\\", "\\")


def files_in(folder: StorePath) -> Iterator[StorePath]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from files_in(path)
        else:
            yield path


def test_what_was_forgotten_with_its_counts_kept_is_no_difference_and_survives_a_recount(store: Store) -> None:
    filled(store)
    store.writer.forget_before("p", CLOSED)
    assert list(differences(store.caught_up())) == []
    for owner in (Owner.of_stream("p"), Owner.of_stream("l"), Owner.of_task("t")):
        before = store.metric(owner.name, "predictions" if owner == Owner.of_task("t") else "rows").value
        store.writer.recount(owner)
        after = store.metric(owner.name, "predictions" if owner == Owner.of_task("t") else "rows").value
        assert (after.value, after.n) == (before.value, before.n)
    with store.reader.database.write() as connection:  # a day that is open is compared
        connection.execute(sa.text("DELETE FROM counts WHERE bucket >= :day"), {"day": CLOSED})
    differing = {difference.owner for difference in differences(store.caught_up())}
    assert differing == {Owner.of_stream("p"), Owner.of_stream("l")}


def test_the_future_cannot_be_forgotten(store: Store) -> None:
    filled(store)
    with pytest.raises(InputError, match="lies in the future"):
        store.writer.forget_before("p", "2100-01-01")
    assert store.metric("p", "rows").value.value == 20


def test_folders_in_quarantine_are_named_or_removed_and_notes_of_dropped_records_stay(store: Store) -> None:
    filled(store)
    store.reader.quarantine.note_dropped("w", Dropped("test", "host", 1, 5, 0.0))
    aside = store.reader.quarantine.folder / "log-p-20260101T000000"  # as mending sets a damaged log aside
    aside.mkdir()
    (aside / "part.parquet").write_bytes(NEEDLE.encode())
    (left,) = store.writer.forget_keys([NEEDLE]).left
    assert aside.name in left
    assert store.writer.forget_keys([NEEDLE], force=True).left == ()
    assert not aside.exists()
    assert [total.records for total in store.reader.quarantine.dropped()] == [5]
