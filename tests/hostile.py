"""A store in which every name and value that a user chooses is an attack, or odd."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from pathlib import Path

import fourfold as ff

PROJECT = "hostile"
SCRIPT = "<script>ran=1</script>"
IMAGE = "\"><img src=x onerror='ran=1'>"
QUOTES = 'it\'s "quoted" `and` \\ {{7*7}} ${7*7} {a|b} %3Cb%3E &lt;b&gt; # ? / ; token:accent'
RIGHT_TO_LEFT = "שלום \u202eמשתמש\u202c مرحبا"
LONG = "x" * 10_000
NAMES = (SCRIPT, IMAGE, QUOTES, RIGHT_TO_LEFT, LONG)
NUMBERS = (0.5, math.nan, math.inf, -math.inf, float(2**70), 5e-324)


def fill(folder: Path) -> None:
    """Fill a store with it, and judge it."""
    session = ff.init(folder, PROJECT)
    stream, prediction, label = f"predict {IMAGE}", f"score {SCRIPT}", f"late {QUOTES}"
    begin = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=3)
    rows = [
        {
            "key": f"{NAMES[i % 5]}{i}",
            "time": begin + dt.timedelta(minutes=12 * i),
            prediction: (i % 10) / 10,
            **{name: NAMES[(i + j) % 5] for j, name in enumerate(NAMES)},
            **{f"number {name[:40]}": NUMBERS[(i + j) % 6] for j, name in enumerate(NAMES)},
        }
        for i in range(300)
    ]
    ff.log(stream, rows, key="key", time="time")
    ff.log(
        SCRIPT, [{"key": row["key"], "time": row["time"], label: i % 3 == 0} for i, row in enumerate(rows)], key="key"
    )
    ff.task(
        f"task {IMAGE}", prediction=f"{stream}.{prediction}", label=f"{SCRIPT}.{label}", threshold=0.5,
        slices=[SCRIPT, RIGHT_TO_LEFT], horizon="30d",
    )  # fmt: skip
    ff.objective(
        f"objective {SCRIPT}", f"accuracy(task {IMAGE}) >= 0.9", window="7d", owner=IMAGE, runbook="javascript:ran=1"
    )
    for i, name in enumerate(NAMES):
        for _ in range(3):
            with contextlib.suppress(ValueError), ff.run(name, params={name: NAMES[i - 1], "n": 2**70}) as run:
                run.metric(name[:100], NUMBERS[i])
                run.input(NAMES[i - 1], [{name: value} for value in NUMBERS])
                run.output(name, [{name: NAMES[i - 1]}])
                if i != 1:
                    raise ValueError(name)
    ff.flush()
    session.store.caught_up()
    with contextlib.suppress(Exception):
        ff.check()
    session.close()
