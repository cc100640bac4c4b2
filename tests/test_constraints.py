"""Constraints on values: how they are learned, what violates them, how they are declared, and where they are silent."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fourfold as ff
from fourfold.cli import app
from fourfold.cli.suggest import append, sections
from fourfold.config import load
from fourfold.errors import ConfigError
from fourfold.expectations import expectations
from fourfold.model import DAY
from fourfold.model.incident import Finding
from fourfold.query.counts import totals
from fourfold.sdk import session as session_module
from fourfold.store import Store
from fourfold.watch import constraints
from fourfold.watch.constraints import Constraint, Rule, Status, expected, learning, violations
from fourfold.watch.constraints.declared import place
from fourfold.watch.constraints.inference import Days, categories, numeric
from fourfold.watch.constraints.reading import days_of_streams
from tests.support import START, Sender

N = 200  # records a day


def days(low: Any, high: Any, *, rows: int = N, **tallies: Sequence[int]) -> Days:
    n = len(low)
    zeros = np.zeros(n, np.int64)
    given = {name: np.array(values, np.int64) for name, values in tallies.items()}
    return Days(
        np.arange(n, dtype=np.int64) * DAY, np.full(n, rows, np.int64), given.get("missing", zeros),
        given.get("negative", zeros), zeros, np.array(low, float), np.array(high, float),
    )  # fmt: skip


def rules(found: Sequence[Constraint], status: Status = Status.ACTIVE) -> dict[Rule, float | None]:
    return {c.rule: c.limit for c in found if c.status is status}


# inference -----------------------------------------------------------------------------------------------------------


def test_a_constraint_is_learned_first_and_counts_once_later_days_have_confirmed_it() -> None:
    seeded = np.random.default_rng(0)
    low, high = seeded.uniform(0, 1, 40), seeded.uniform(90, 100, 40)
    assert rules(numeric("s", "c", days(low[:10], high[:10]))) == {}
    assert rules(numeric("s", "c", days(low[:10], high[:10])), Status.LEARNING).keys() == {
        Rule.NULL, Rule.MIN, Rule.MAX,
    }  # fmt: skip
    after = rules(numeric("s", "c", days(low[:14], high[:14])))
    assert after == {Rule.NULL: None, Rule.MIN: 0.0}
    whole = rules(numeric("s", "c", days(low, high)))
    assert whole.keys() == {Rule.NULL, Rule.MIN, Rule.MAX}
    assert 150 <= (whole[Rule.MAX] or 0) <= 250


def test_few_records_confirm_nothing() -> None:
    assert rules(numeric("s", "c", days([0.0] * 40, [5.0] * 40, rows=3))) == {}


def test_a_column_that_has_had_nulls_or_negative_values_gets_no_constraint_against_them() -> None:
    found = rules(numeric("s", "c", days([-5.0] * 30, [5.0] * 30, missing=[1, *[0] * 29], negative=[9] * 30)))
    assert Rule.NULL not in found
    assert found.get(Rule.MIN) != 0.0


def test_a_temperature_that_has_not_been_below_zero_yet_may_fall_below_it() -> None:
    summer = np.random.default_rng(1)
    found = rules(numeric("s", "dew", days(summer.uniform(5, 40, 60), summer.uniform(60, 70, 60))))
    assert found.get(Rule.MIN) != 0.0


def test_measurements_whose_tail_ends_above_zero_by_chance_may_fall_below_it() -> None:
    random = np.random.default_rng(4)
    values = random.normal(3.6, 1, (60, 1_000))
    values = np.abs(values)  # as if none had been below zero yet
    assert rules(numeric("s", "pressure", days(values.min(axis=1), values.max(axis=1)))).get(Rule.MIN) != 0.0


def test_numbers_that_grow_get_no_range() -> None:
    ids = np.arange(200) * 1_000.0
    assert Rule.MAX not in rules(numeric("s", "id", days(ids, ids + 1_000)))
    month = np.repeat(np.arange(1.0, 8.0), 30)
    assert Rule.MAX not in rules(numeric("s", "month", days(month, month)))


def test_a_range_leaves_room_for_a_season() -> None:
    warm = 15 - 20 * np.cos(np.arange(365) / 365 * 2 * np.pi) + np.random.default_rng(2).normal(0, 3, 365)
    found = rules(numeric("s", "temperature", days(warm - 5, warm + 5)))
    for rule, limit in found.items():
        assert rule not in (Rule.MIN, Rule.MAX) or limit is None or not -15 < limit < 45


def test_a_heavy_tail_rarely_exceeds_its_range() -> None:
    exceeded = 0
    for seed in range(40):
        high = np.random.default_rng(seed).pareto(2.5, (400, N)).max(axis=1)
        for c in numeric("s", "c", days(np.zeros(400), high)):
            later = high[c.buckets :]
            exceeded += c.rule is Rule.MAX and c.status is Status.ACTIVE and bool((later > (c.limit or 0)).any())
    assert exceeded <= 4  # in 40 columns × a year


def test_no_values_are_too_large_or_too_many_missing_to_be_reckoned_with() -> None:
    for scale in (1.7e308, 1e200, 1e-320, 0.0):
        for seed in range(20):
            seeded = np.random.default_rng(seed)
            low, high = np.sort(np.clip(seeded.normal(0, 1, (2, 40)), -1, 1), axis=0) * scale
            low[seeded.random(40) < seed / 20] = np.nan
            for c in numeric("s", "c", days(low, high)):
                assert c.limit is None or np.isfinite(c.limit)


def labelled(n: int, values: Sequence[str], seed: int = 0, weights: Sequence[float] | None = None) -> list[Any]:
    seeded = np.random.default_rng(seed)
    drawn = [seeded.choice(values, N, p=weights) for _ in range(n)]
    return [(i * DAY, {v: int((d == v).sum()) for v in values if (d == v).any()}) for i, d in enumerate(drawn)]


def test_a_set_of_values_counts_once_it_has_been_stable() -> None:
    (learning,) = categories("s", "c", labelled(20, list("abc")))
    assert (learning.status, learning.buckets, learning.needed) == (Status.LEARNING, 20, 28)
    (found,) = categories("s", "c", labelled(28, list("abc")))
    assert (found.status, found.values) == (Status.ACTIVE, ("a", "b", "c"))


def test_values_that_go_on_to_be_new_are_no_set() -> None:
    rare = [0.6, 0.39, *[0.01 / 30] * 30]
    found = categories("s", "c", labelled(28, [f"v{i}" for i in range(32)], weights=rare))
    assert [c for c in found if c.counts] == []
    months = [(i * DAY, {str(1 + i // 30): N}) for i in range(250)]
    assert [c for c in categories("s", "month", months) if c.counts] == []


# declared ------------------------------------------------------------------------------------------------------------


def test_declared_constraints_count_at_once_and_mute_what_was_inferred() -> None:
    found = expected("s", "age", {"min": 0, "max": 120, "null": False, "values": [1, True, "x"], "unique": True}, "w")
    assert {c.rule: (c.limit, c.values) for c in found} == {
        Rule.MIN: (0.0, ()), Rule.MAX: (120.0, ()), Rule.NULL: (None, ()), Rule.VALUES: (None, ("1", "true", "x")),
        Rule.UNIQUE: (None, ()),
    }  # fmt: skip
    assert all(c.status is Status.DECLARED for c in found)
    (allowed,) = expected("s", "age", {"null": True}, "w")
    assert allowed.status is Status.MUTED
    assert {c.rule for c in expected("s", "age", {"mute": ["max"]}, "w")} == {Rule.MAX}


@pytest.mark.parametrize(
    "fields",
    [{"min": "low"}, {"max": float("nan")}, {"null": 1}, {"values": "abc"}, {"values": []}, {"mute": ["most"]},
     {"least": 1}, 7, {"values": [object()]}],
)  # fmt: skip
def test_an_invalid_declaration_says_where_and_what_is_wrong(fields: Any) -> None:
    with pytest.raises(ConfigError, match="here"):
        expected("s", "age", fields, "here")


def test_the_names_of_streams_and_columns_may_have_dots() -> None:
    streams = ["join", "join.output", "predict"]
    assert place("join.output.temp", streams) == ("join.output", "temp")
    assert place("predict.a.b", streams) == ("predict", "a.b")
    assert place("predict", streams) == ("predict", "")
    assert place("new.column", streams) == ("new", "column")


# from a store --------------------------------------------------------------------------------------------------------


def rows(day: int, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """A day's records: an amount, a country and a score, where not given otherwise."""
    seeded = np.random.default_rng(day)
    usual = {
        "amount": (seeded.exponential(50, N) + 1).tolist(),
        "country": seeded.choice(["CH", "DE", "FR"], N).tolist(),
        "score": seeded.uniform(0, 1, N).tolist(),
    }
    several = {**usual, **columns}
    at = START + day * DAY
    return [
        {"key": f"{day}-{i}", "time": at + i, "log_time": at + i, **{name: several[name][i] for name in several}}
        for i in range(N)
    ]


def logged(store: Store, n: int, later: Mapping[int, Mapping[str, Sequence[Any]]] | None = None) -> None:
    sender = Sender(store)
    for day in range(n):
        sender.records("pay", rows(day, **(later or {}).get(day, {})))
    store.caught_up()


def end(day: int) -> float:
    return float(START + (day + 1) * DAY)


def found(store: Store, day: int, **more: Any) -> dict[tuple[str, str], Finding]:
    return {(f.where.column, f.kind): f for f in constraints.findings(store.caught_up(), end(day), **more)}


def changed(column: str, count: int, value: Any, day: int) -> dict[str, Sequence[Any]]:
    values = [row[column] for row in rows(day)]
    return {column: [value] * count + values[count:]}


def test_a_clean_history_gives_no_finding_on_any_day(store: Store) -> None:
    logged(store, 45)
    for day in range(45):
        assert found(store, day) == {}, day


@pytest.mark.parametrize(
    ("column", "count", "value", "kind"),
    [("amount", 3, -4.0, "negative_values"), ("amount", 1, 1e6, "out_of_range"), ("amount", 4, None, "nulls"),
     ("country", 5, "XX", "new_category"), ("country", 4, None, "nulls"), ("score", 60, 77.0, "out_of_range")],
)  # fmt: skip
def test_a_violation_is_found_from_its_first_day_on_and_clears(
    store: Store, column: str, count: int, value: Any, kind: str
) -> None:
    logged(store, 46, {day: changed(column, count, value, day) for day in (40, 41)})
    assert found(store, 39) == {}
    for day in (40, 41, 42):
        (finding,) = found(store, day).values()
        assert (finding.where.stream, finding.where.column, finding.kind) == ("pay", column, kind)
        assert (finding.began, f"{count} of {N} records have" in finding.what) == (START + 40 * DAY, True), finding.what
        assert START + 39 * DAY <= finding.began_low <= START + 40 * DAY  # few may not have shown the day before
        assert finding.began_low < finding.began_high == START + 41 * DAY
    assert found(store, 43) == {}


def test_a_violation_that_lasts_is_the_new_normal_in_the_end(store: Store) -> None:
    logged(store, 80, {day: changed("country", 50, "AT", day) for day in range(40, 80)})
    assert found(store, 50).keys() == {("country", "new_category")}
    assert found(store, 79) == {}


def test_one_odd_value_or_null_is_nobodys_fault(store: Store) -> None:
    logged(store, 42, {40: changed("country", 1, "XX", 40), 41: changed("amount", 1, None, 41)})
    assert found(store, 40) == {}
    assert found(store, 41) == {}


def test_repeated_keys_are_found_where_there_were_none(store: Store) -> None:
    sender = Sender(store)
    for day in range(40):
        sender.records("pay", rows(day))
    sender.records("pay", rows(39))
    (finding,) = found(store, 39).values()
    assert (finding.kind, finding.where.column, "repeated keys" in finding.what) == ("duplicates", "", True)


def test_records_without_keys_and_frames_have_none_that_could_be_repeated(store: Store) -> None:
    sender = Sender(store)
    for day in range(30):
        sender.records("pay", [{**row, "key": None} for row in rows(day)])
    assert Rule.UNIQUE not in {c.rule for c in constraints.all_of(store.caught_up(), "pay")}


def test_settings_pin_change_and_mute_constraints(store: Store) -> None:
    logged(store, 42, {41: {**changed("amount", 3, -4.0, 41), **changed("country", 9, "XX", 41)}})
    assert found(store, 41).keys() == {("amount", "negative_values"), ("country", "new_category")}
    muted = {"pay.amount": {"mute": True}, "pay.country": {"values": ["CH", "DE", "FR", "XX"]}}
    assert found(store, 41, expects=muted) == {}
    pinned = {"pay.amount": {"max": 10, "mute": ["min"]}, "pay.country": {"mute": ["values"]}}
    assert found(store, 2, expects=pinned).keys() == {("amount", "out_of_range")}


def test_the_counts_of_a_frame_are_checked_before_it_is_handed_on(store: Store) -> None:
    logged(store, 40)
    reader = store.caught_up()
    known = constraints.active(reader, "pay")
    assert {(c.column, c.rule) for c in known} >= {("amount", Rule.MIN), ("country", Rule.VALUES), ("score", Rule.MAX)}
    whole = {column: list(kinds.values()) for column, kinds in totals(reader, "pay").items()}
    assert violations(whole, known) == []
    strict = [Constraint("pay", "amount", Rule.MAX, Status.DECLARED, 50.0)]
    (finding,) = violations({"amount": whole["amount"][0]}, strict, at=5.0)
    exact = sum(row["amount"] > 50 for day in range(40) for row in rows(day))
    assert abs(finding.n - 40 * N) == 0
    counted = int(finding.what.split(" of ")[0].replace(",", ""))
    assert abs(counted - exact) <= 0.02 * exact
    assert finding.seen == 5.0
    assert violations({"amount": whole["amount"][0]}, [Constraint("pay", "amount", Rule.MAX, Status.MUTED, 50.0)]) == []


def test_what_a_component_expects_is_checked_in_any_process(tmp_path: Path) -> None:
    session = ff.init(tmp_path / "store", "test")

    @ff.component(expects={"x": {"max": 5, "null": False}, "elsewhere": {"min": 0}})
    def load(n: float) -> pd.DataFrame:
        return pd.DataFrame({"x": [1.0, 2.0, n], "y": [1, 2, 3]})

    load(3.0)
    session.flush()
    other = Store(tmp_path / "store", "test")
    later = time.time() + DAY
    assert constraints.findings(other.caught_up(), later) == []
    load(9.0)
    session.flush()
    (finding,) = constraints.findings(other.caught_up(), later)
    assert (finding.kind, finding.where.stream, finding.where.column) == ("out_of_range", "load.output", "x")
    assert "1 of 6 records have" in finding.what
    other.close()
    session.close()


def test_an_invalid_expectation_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ConfigError, match=r"load.*expects.*'x'.*'least'"):
        ff.component("load", expects={"x": {"least": 1}})(lambda: None)


def test_what_was_learned_is_kept_and_read_anew_only_when_more_days_may_change_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(store, 30)
    reader, learned = store.caught_up(), constraints.Learned()
    constraints.findings(reader, end(29), learned=learned)
    kept = constraints.Learned.from_bytes(learned.to_bytes())
    days_ = days_of_streams(reader)["pay"]
    expected_ = learned.constraints(reader, "pay", days_)
    monkeypatch.setattr(learning, "infer", lambda *_: pytest.fail("read anew"))
    assert kept.constraints(reader, "pay", days_) == expected_
    assert kept.constraints(reader, "pay", [*days_, days_[-1] + DAY]) == expected_
    monkeypatch.setattr(learning, "infer", lambda *_: [])
    assert kept.constraints(reader, "pay", [days_[0] - DAY, *days_]) == ()  # older data have come
    for odd in (b"", b"\xff", b"{}", b"[1]", b'{"format": 1, "streams": {"a": {}}}'):
        assert constraints.Learned.from_bytes(odd).constraints(reader, "pay", []) == ()


# fourfold suggest ----------------------------------------------------------------------------------------------------


def suggested(store: Store, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["suggest", *arguments, "--store", str(store.folder), "--project", "test"])
    return done.exit_code, done.output


def test_what_is_suggested_is_valid_and_says_what_it_is_based_on(store: Store) -> None:
    logged(store, 40)
    code, out = suggested(store, "pay")
    assert code == 0
    written = tomllib.loads(out)["watch"]["expects"]
    assert written["pay.country"] == {"values": ["CH", "DE", "FR"], "null": False}
    assert (written["pay"], written["pay.amount"]["min"], written["pay.score"]["null"]) == ({"unique": True}, 0, False)
    assert "null = false  # active: 2,800 records, 14 days" in out


def test_what_is_still_learned_is_suggested_as_a_comment(store: Store) -> None:
    logged(store, 10)
    _, out = suggested(store)
    assert "# null = false  # learning, 10 of 14 days: 2,000 records, 10 days" in out
    assert not any(tomllib.loads(out)["watch"]["expects"].values())


def test_writing_appends_each_section_once_and_leaves_the_rest_as_it_is(store: Store) -> None:
    logged(store, 40)
    mine = '# mine\nproject = "test"\n[watch.expects."pay.country"]\nmute = ["values"]  # for now'
    Path("fourfold.toml").write_text(mine)
    for _ in range(2):
        code, out = suggested(store, "--write")
        assert code == 0, out
    text = Path("fourfold.toml").read_text()
    assert text.startswith(mine + "\n")
    assert text.count('[watch.expects."pay.country"]') == text.count('[watch.expects."pay.amount"]') == 1
    assert "already" in out
    settings = load(str(store.folder))
    assert constraints.findings(store.caught_up(), end(39), expects=settings.watch["expects"]) == []


def test_a_file_that_sections_do_not_fit_stays_as_it_is(store: Store) -> None:
    logged(store, 40)
    Path("fourfold.toml").write_text("watch = {days = 30}\n")
    with pytest.raises(ConfigError, match="do not fit"):
        append(Path("fourfold.toml"), ['[watch.expects."pay.score"]', "min = 0"])
    assert Path("fourfold.toml").read_text() == "watch = {days = 30}\n"


def test_hostile_names_and_values_are_written_so_that_they_read_back() -> None:
    name = 'a"b\\c\n\x7f\u2028 é😀]'
    lines = sections([Constraint("s", name, Rule.VALUES, Status.ACTIVE, values=(name, "")),
                      Constraint("s", name, Rule.MAX, Status.ACTIVE, limit=1e300)])  # fmt: skip
    read = tomllib.loads("\n".join(lines))
    assert read == {"watch": {"expects": {f"s.{name}": {"values": [name, ""], "max": 1e300}}}}


def test_suggestions_are_given_to_programs_whole(store: Store) -> None:
    logged(store, 40)
    code, out = suggested(store, "--json")
    assert code == 0
    rows_ = json.loads(out)["rows"]
    (country,) = [row for row in rows_ if (row["column"], row["rule"]) == ("country", "values")]
    assert (country["values"], country["status"], country["n"]) == (["CH", "DE", "FR"], "active", 28 * N)


def test_the_page_on_runs_and_values_is_as_it_says() -> None:
    page = (Path(__file__).parent.parent / "docs" / "runs-and-values.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), "page", "exec"), names)
    found_ = constraints.findings(session_module.session().store.caught_up(), time.time() + DAY)
    assert [(f.kind, f.where.stream, f.where.column) for f in found_] == [("out_of_range", "load.output", "age")]
    session_module.session().close()
    (settings,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    for name, fields in tomllib.loads(settings)["watch"]["expects"].items():
        assert expectations(fields, name)
