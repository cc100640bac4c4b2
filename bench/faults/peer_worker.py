"""One peer on one exported replay: run by an environment that holds that peer only, it prints one JSON object."""
# mypy: ignore-errors

import json
import os
import sys

import numpy as np
import pandas as pd

os.environ |= {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}  # they would report their use to their makers
name, path, threshold, period = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
DAY, REFERENCE, CURRENT = 86_400, 28, 14
frame = pd.read_parquet(path)
onset = frame.loc[frame.after, "time"].min()
first = onset // DAY * DAY  # whole days, or the first chunk may be of a few records
before = frame[(frame.time >= first - REFERENCE * DAY) & (frame.time < first)].copy()
after = frame[(frame.time >= first) & (frame.time < first + CURRENT * DAY)].copy()
half = first - REFERENCE / 2 * DAY
early, recent = before[before.time < half], before[before.time >= half]
left_out = {"id", "time", "after", "flight_id"}
columns = [c for c in frame.columns if c not in left_out]
features = [c for c in columns if c not in ("label", "score")]
for part in (before, after, early, recent):
    for column in part.select_dtypes(include=["category", "bool"]).columns:
        part[column] = part[column].astype(str)


def evidently():
    """DataDriftPreset on the first week after the onset; and generated tests of DataSummaryPreset without a fault."""
    from evidently import Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    def usable(*parts):
        return [c for c in columns if all(part[c].notna().any() for part in parts)]

    def drifted(current, reference, days):
        use = usable(current, reference)
        tests = Report([DataDriftPreset()], include_tests=True).run(current[use], reference[use]).dict()["tests"]
        return {_column(test): days for test in tests if test["status"] == "FAIL" and _column(test)}

    if period == "after":
        return {"flagged": drifted(after[after.time < first + 7 * DAY], before, 7.0)}
    use = usable(recent, early)
    tests = Report([DataSummaryPreset()], include_tests=True).run(recent[use], early[use]).dict()["tests"]
    failing = {_column(test) for test in tests if test["status"] == "FAIL"} - {None}
    return {"flagged": drifted(recent, early, 14.0), "summary": len(failing)}


def _column(test):
    return test["metric_config"]["params"].get("column")


def nannyml():
    """Univariate drift, estimated and realised performance by day, with default thresholds."""
    import nannyml

    def alerts(reference, current):
        reference, current = (part.assign(when=pd.to_datetime(part.time, unit="s")) for part in (reference, current))
        start = current.time.min()
        found = {}

        use = [c for c in features if reference[c].notna().any() and current[c].notna().any()]
        categories = [c for c in use if reference[c].dtype == object or str(reference[c].dtype) in ("str", "string")]
        drift = nannyml.UnivariateDriftCalculator(
            column_names=[*use, "score"],
            treat_as_categorical=categories,
            timestamp_column_name="when",
            chunk_period="D",
        )
        result = drift.fit(reference).calculate(current).filter(period="analysis")
        table = result.to_df()
        for column in [*use, "score"]:
            method = table[column].columns.get_level_values(0)[0]
            _first(found, column, table, (column, method, "alert"), start)
        known = reference[reference.label.notna()].assign(decided=lambda f: (f.score >= threshold).astype(int))
        judged = current.assign(decided=(current.score >= threshold).astype(int))
        shared = {
            "y_pred_proba": "score",
            "y_pred": "decided",
            "y_true": "label",
            "timestamp_column_name": "when",
            "problem_type": "classification_binary",
            "metrics": ["roc_auc", "accuracy"],
            "chunk_period": "D",
        }
        estimated = nannyml.CBPE(**shared).fit(known).estimate(judged).filter(period="analysis").to_df()
        real = nannyml.PerformanceCalculator(**shared).fit(known)
        realised = real.calculate(judged[judged.label.notna()]).filter(period="analysis").to_df()
        for metric in shared["metrics"]:
            _first(found, "performance", estimated, (metric, "alert"), start)
            _first(found, "performance", realised, (metric, "alert"), start)
        return found

    return {"flagged": alerts(before, after) if period == "after" else alerts(early, recent)}


def _first(found, name, table, place, start):
    alert = table[place].fillna(False).astype(bool).to_numpy()
    ends = table[next(c for c in table.columns if c[-1] == "end_date")]
    if alert.any():
        days = (ends[alert].min().timestamp() - start) / DAY
        found[name] = min(float(days), found.get(name, np.inf))


print(json.dumps({"evidently": evidently, "nannyml": nannyml}[name]()))
