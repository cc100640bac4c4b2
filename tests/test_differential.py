"""Law 2, run hard: tasks of every kind against a plain-Python oracle, in any order, corrected, withdrawn, deleted."""

from __future__ import annotations

import collections
import json
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fourfold import config
from fourfold.counts import KINDS
from fourfold.model import DAY, HOUR, Owner, Task, slice_key
from fourfold.state import catalogue
from fourfold.store import Store
from tests.support import SLOW, START, Sender, close, comparable, stored
from tests.test_incremental import a_store

HORIZON = 3 * DAY
CLASSES = ("cat", "dog", "o'wl")
_DECLARED: dict[str, dict[str, Any]] = {
    "binary": {"version": "model"},
    "multiclass": {"version": "model"},
    "multilabel": {},
    "regression": {},
    "ranking": {"query": "query", "cutoffs": [1, 2]},
    "decision": {"outcome": "outcomes.good"},
}
TASKS: dict[str, Task] = {
    kind: config.make_task(
        "t", prediction="predict.score", label="labels.truth", kind=kind, horizon="3d",
        slices=["side", ["shape", "side"], {"name": "twice", "sql": "size * 2"}], **more,
    )
    for kind, more in _DECLARED.items()
}  # fmt: skip
PREDICTIONS: dict[str, st.SearchStrategy[Any]] = {
    "binary": st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.7, None]),
    "multiclass": st.sampled_from([*CLASSES, None]),
    "multilabel": st.one_of(st.none(), st.lists(st.sampled_from(CLASSES), max_size=3)),
    "regression": st.sampled_from([0.0, 1.0, -2.5, 100.0, None]),
    "ranking": st.sampled_from([0.1, 0.2, 0.3, 0.3, None]),
    "decision": st.sampled_from([*CLASSES, None]),
}
LABELS = PREDICTIONS | {"binary": st.sampled_from([0, 1, 1, None, 7]), "ranking": st.sampled_from([0, 1, 2, None])}
keys = st.sampled_from(["k0", "k1", "k2", "k3", "'; DROP TABLE run; --"])
hours = st.integers(0, 110)

Record = dict[str, Any]


class Tasks(RuleBasedStateMachine):
    """A store that is sent records in any order, next to a list of them."""

    @initialize(kind=st.sampled_from(sorted(TASKS)), late=st.booleans())
    def start(self, kind: str, late: bool) -> None:
        self.task, self.kind, self.declared = TASKS[kind], kind, not late
        self.context = a_store()
        self.store = self.context.__enter__()
        self.sender = Sender(self.store)
        self.records: list[tuple[str, Record]] = []
        self.clock = START
        if self.declared:
            self.sender.task(self.task)

    def _send(self, stream: str, record: Record, early: int) -> None:
        """Log a record; ``early`` is how much earlier than those before it says that it was logged."""
        self.clock += 10
        record["log_time"] = self.clock - early * 15
        if any(r["log_time"] == record["log_time"] for s, r in self.records if s == stream):
            record["log_time"] = self.clock  # the order of one log time is that of the batch; here it has none
        self.records.append((stream, record))
        self.sender.records(stream, [record])

    @rule(data=st.data(), key=keys, hour=hours, early=st.integers(0, 3))
    def predict(self, data: st.DataObject, key: str, hour: int, early: int) -> None:
        record = {"key": key, "time": START + hour * HOUR, "score": data.draw(PREDICTIONS[self.kind])}
        record["side"] = data.draw(st.sampled_from(["a", "b", None]))
        record["shape"] = data.draw(st.sampled_from(["x", "y"]))
        record["size"] = data.draw(st.sampled_from([1, 2]))
        record["model"] = data.draw(st.sampled_from(["v1", "v2"]))
        record["query"] = data.draw(st.sampled_from(["q0", "q1", None]))
        self._send("predict", record, early)

    @rule(data=st.data(), key=keys, hour=hours, early=st.integers(0, 3))
    def label(self, data: st.DataObject, key: str, hour: int, early: int) -> None:
        truth = data.draw(LABELS[self.kind])
        self._send("labels", {"key": key, "time": START + hour * HOUR, "truth": truth}, early)

    @precondition(lambda self: self.kind == "decision")
    @rule(key=keys, good=st.sampled_from([0.0, 1.0, None]), early=st.integers(0, 3))
    def outcome(self, key: str, good: float | None, early: int) -> None:
        self._send("outcomes", {"key": key, "time": START, "good": good}, early)

    @rule()
    def fold(self) -> None:
        self.store.writer.catch_up()

    @rule()
    def compact(self) -> None:
        for stream in ("predict", "labels"):
            self.store.reader.log(stream).compact(at_least=2)

    @rule(key=keys, stream=st.sampled_from(["predict", "labels"]))
    def delete(self, key: str, stream: str) -> None:
        if any(stream == known for known, _ in self.records):
            self.store.writer.delete(stream, [key])
        self.records = [(s, r) for s, r in self.records if (s, r["key"]) != (stream, key)]

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            if not self.declared:
                self.sender.task(self.task)
            self.store.writer.catch_up()
            assert not self.store.reader.failure(Owner.of_task("t"), ())
            with a_store() as scratch:
                plan = _plan_of(self.store)
                with scratch.reader.database.write() as connection:
                    catalogue.add_binnings(connection, "test", Owner.of_task("t"), plan, 0)
                sender = Sender(scratch)
                sender.task(self.task)
                for stream in ("labels", "predict", "outcomes"):
                    rows = [r for s, r in sorted(self.records, key=lambda e: e[1]["log_time"]) if s == stream]
                    if rows:
                        sender.records(stream, rows)
                scratch.writer.catch_up()
                for level in (DAY, HOUR):
                    one, other = (
                        comparable(stored(s, Owner.of_task("t"), level), extremes=False) for s in (self.store, scratch)
                    )
                    assert close(one, other, 1e-6)
            assert _tallies(self.store, self.task) == oracle(self.task, self.records)
        finally:
            self.context.__exit__(None, None, None)


def _plan_of(store: Store) -> dict[str, Any]:
    """The binnings that were chosen on the way; from scratch, others may be."""
    with store.reader.database.read() as connection:
        found = catalogue.plan(connection, "test", Owner.of_task("t")).binnings
    return {column: versions[0][1] for column, versions in found.items()}


Tallies = dict[tuple[str, int], dict[str, int]]


def _tallies(store: Store, task: Task) -> Tallies:
    """The task's tallies, and its labelled counts, by slice and day."""
    found: Tallies = {}
    for row in stored(store, Owner.of_task("t")).to_pylist():
        if row["kind"] == task.kind:
            entry = dict(zip(KINDS[task.kind].tallies, row["tallies"], strict=True))
            entry |= dict(zip(row["labels"], row["counts"], strict=False))
            found[row["slice"], row["bucket"]] = {name: n for name, n in entry.items() if n}
    return found


def oracle(task: Task, records: list[tuple[str, Record]]) -> Tallies:
    """The same by a plain loop over the records in the order in which they were logged."""
    in_order = sorted(records, key=lambda entry: entry[1]["log_time"])
    copies: collections.Counter[tuple[str, Any]] = collections.Counter()
    first: dict[tuple[str, Any], Record] = {}
    served: dict[str, Record] = {}
    last: dict[str, dict[str, Record]] = {"labels": {}, "outcomes": {}}
    for stream, record in in_order:
        key, version = record["key"], record.get("model") if task.version else None
        if stream == "predict":
            copies[key, version] += 1
            served.setdefault(key, record)
            first.setdefault((key, version), record)
        else:
            copies[stream, key] += 1
            last[stream][key] = record
    out: dict[tuple[str, int], collections.Counter[str]] = {}

    def count(slices: list[str], time: int, names: collections.Counter[str]) -> None:
        for key in slices:
            out.setdefault((key, time // DAY * DAY), collections.Counter()).update(names)

    queries: dict[str, list[tuple[Record, collections.Counter[str], Any]]] = {}
    for (key, version), prediction in first.items():
        label = last["labels"].get(key)
        pairs = copies[key, version] * copies["labels", key]
        good = last["outcomes"].get(key, {}).get("good")
        names, truth = _outcomes(task, prediction, label, pairs, good)
        if task.kind == "ranking":
            queries.setdefault(prediction["query"] or key, []).append((prediction, names, truth))
            continue
        slices = []
        if prediction is served[key]:
            slices += [slice_key(s) for s in ({}, *_slices(prediction))]
        if version is not None:
            slices.append(slice_key({"model": version}))
        count(slices, prediction["time"], names)
    for items in queries.values():
        head = min(items, key=lambda item: (item[0]["time"], item[0]["key"]))[0]
        count([slice_key(s) for s in ({}, *_slices(head))], head["time"], _of_query(items))
    for key, label in last["labels"].items():
        if key not in served and label["truth"] is not None:
            count(["{}"], label["time"], collections.Counter(["orphan"]))
    return {place: {k: n for k, n in names.items() if n} for place, names in out.items() if any(names.values())}


def _slices(prediction: Record) -> list[dict[str, Any]]:
    side, shape = prediction["side"], prediction["shape"]
    return [{"side": side}, {"shape": shape, "side": side}, {"twice": str(prediction["size"] * 2)}]


def _outcomes(
    task: Task, prediction: Record, label: Record | None, pairs: int, good: Any
) -> tuple[collections.Counter[str], Any]:  # fmt: skip
    """What one prediction is counted as; and its label, where it has one in time."""
    names = collections.Counter(["predicted"])
    said: Any = prediction["score"]
    names["unscored"] = int(said is None)
    names["pairs"], names["matched"] = pairs, int(pairs > 0)
    truth: Any = label["truth"] if label is not None else None
    if label is not None and truth is None:
        names["withdrawn"] = 1
    in_time = label is not None and truth is not None
    if in_time and label is not None and label["time"] - prediction["time"] > HORIZON:
        names["expired"], in_time = 1, False
    if in_time and task.kind == "binary" and truth not in (0, 1):
        names["invalid_label"], in_time = 1, False
    labelled = in_time and said is not None
    names["labelled"] = int(labelled)
    if task.kind == "multiclass" and said is not None:
        names[json.dumps([said, truth] if labelled else [said], ensure_ascii=False)] = 1
    if not labelled:
        return names, truth if in_time else None
    match task.kind:
        case "binary":
            cell = f"{'true' if (said >= 0.5) == truth else 'false'}_{'positive' if said >= 0.5 else 'negative'}"
            names[cell], names["not_probability"] = 1, int(not 0 <= said <= 1)
        case "multiclass":
            names["correct"] = int(said == truth)
        case "multilabel":
            names["exact"] = int(set(said) == set(truth))
            for cell, classes in (
                ("true_positive", set(said) & set(truth)), ("false_positive", set(said) - set(truth)),
                ("false_negative", set(truth) - set(said)),
            ):  # fmt: skip
                names.update(json.dumps([c, cell], ensure_ascii=False) for c in classes)
        case "regression":
            names["zero_actual"] = int(truth == 0)
        case "decision":
            way = "followed" if said == truth else "overridden"
            names[way], names[f"{way}_with_outcome"] = 1, int(good is not None)
            names[json.dumps([said, truth], ensure_ascii=False)] = 1
    return names, truth


def _of_query(items: list[tuple[Record, collections.Counter[str], Any]]) -> collections.Counter[str]:
    """What a query is counted as, from its items."""
    truths = [truth for _, _, truth in items if truth is not None]
    scored = any(prediction["score"] is not None for prediction, _, _ in items)
    late = any(names["expired"] for _, names, _ in items)
    names = collections.Counter(["predicted"])
    names["unscored"] = int(not scored)
    names["labelled"] = int(scored and bool(truths))
    names["expired"] = int(late and not truths)
    names["withdrawn"] = int(any(n["withdrawn"] for _, n, _ in items) and not truths and not late)
    names["pairs"] = sum(n["pairs"] for _, n, _ in items)
    names["matched"] = int(names["pairs"] > 0)
    names["items"], names["labelled_items"] = len(items), len(truths)
    names["without_relevant"] = int(names["labelled"] and not any(t > 0 for t in truths))
    return names


TestTasks = Tasks.TestCase
TestTasks.settings = settings(
    max_examples=SLOW.max_examples, stateful_step_count=14,
    deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
