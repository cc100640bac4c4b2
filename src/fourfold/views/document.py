"""A report in one file: HTML without scripts, links to elsewhere, or anything that a browser would have to fetch."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fourfold.charts.spec import words
from fourfold.query.reader import Reader
from fourfold.views import home, incident, pipeline, task
from fourfold.views.asking import Asked
from fourfold.views.curves import unit_of
from fourfold.views.page import Page, Plain

_INCIDENTS, _FINDINGS, _SLICES = 10, 6, 10  # that are shown in full
_LONGEST = 300  # characters of a text
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-bottom: 1px solid #8884; }
h3 { font-size: 1rem; margin-bottom: .25rem; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; border-bottom: 1px solid #8883; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
p.quiet, caption { color: #767676; text-align: left; }
strong.page, strong.missed { color: #c4001d; } svg { max-width: 100%; height: auto; display: block; margin: .5rem 0; }
@media (prefers-color-scheme: dark) { strong.page, strong.missed { color: #ff6b6b; } p.quiet { color: #9a9a9a; } }
"""
_STATUS = {"at_risk": "at risk", "too_early_to_tell": "too early to tell", "no_data": "no data"}


def document(reader: Reader, asked: Asked, now: float) -> str:
    """The report of a project: what is wrong, how objectives stand, the pipeline, and each task.

    Args:
        reader: the project's.
        asked: the window of the tasks; without one, the newest weeks.
        now: seconds since 1970.

    Raises:
        InputError: the window is wrong.
    """
    first = home.page(reader, Asked(), now)
    parts = [_head(first.data), _objectives(first), _incidents(reader, first.data, now)]
    if first.data["components"] or first.data["tasks"]:
        parts.append(f"<h2>Pipeline</h2>{pipeline.page(reader, Asked(), now).charts['pipeline'].svg()}")
    for each in first.data["tasks"]:
        parts.append(_task(task.page(reader, _of_task(asked, each["name"]), now)) if each["metrics"] else "")
    body = "".join(parts)
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = html.escape(_short(f"{reader.project}: {first.data['headline']}"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>\n'
    )


def _of_task(asked: Asked, name: str) -> Asked:
    return Asked(start=asked.start, end=asked.end, every=asked.every, limit=_SLICES, more={"task": name})


def _head(data: Plain) -> str:
    until = f", data until {_time(data['data_end'])}" if data["data_end"] else ""
    return (
        f"<h1>{_text(data['project'])}: {_text(data['headline'])}</h1>"
        f'<p class="quiet">fourfold, {_time(data["now"])}{until}; times are UTC</p>'
    )


def _objectives(page: Page) -> str:
    found = page.data["objectives"]
    if not found:
        return ""
    rows = [
        [
            _text(each["name"] + (f" ({_slice(each['slice'])})" if each["slice"] else "")), _text(each["expression"]),
            _strong(_STATUS.get(each["status"], each["status"]), each["status"]),
            _number(_value(each["value"], each["unit_of_value"])),
            _number(words(each["budget"]["remaining"], "share")), _text(each["owner"]),
        ]
        for each in found
    ]  # fmt: skip
    table = _table(("objective", "", "status", "value", "budget left", "owner"), rows)
    drawn = "".join(page.charts[each["chart"]].svg() for each in found if each["chart"])
    return f"<h2>Objectives</h2>{table}{drawn}"


def _incidents(reader: Reader, data: Plain, now: float) -> str:
    rows = [
        [
            _text(group["state"]), _text(group["span"]), _strong(group["health"], group["health"]),
            _number(str(group["findings"])), _text("; ".join(f["what"] for f in group["worst"][:2])),
        ]
        for group in data["groups"]
    ]  # fmt: skip
    parts = ["<h2>What is wrong</h2>", _table(("", "", "health", "findings", "worst"), rows)]
    for each in data["incidents"][:_INCIDENTS]:
        one = incident.page(reader, Asked(more={"id": each["id"]}), now)
        parts.append(_incident(one, each))
    more = data["incidents_total"] - _INCIDENTS
    return "".join([*parts, f"<p>… and {more} more</p>" if more > 0 else ""])


def _incident(page: Page, about: Plain) -> str:
    facts = [
        ("severity", about["severity"]), ("state", about["state"]), ("kind", f"{about['kind']}, {about['group']}"),
        ("since", f"{_plain_time(about['began_low'])} to {_plain_time(about['began_high'])}"),
        ("where it began", about["where"]["label"]), ("objectives", ", ".join(about["objectives"])),
        ("owner", about["owner"]), ("runbook", about["runbook"]),
    ]  # fmt: skip
    rows = [[f"<th>{name}</th>", _text(value)] for name, value in facts if value]
    findings = [
        [
            _text(f["where"]["label"]), _text(f["what"]), _time(f["began"]), _number(words(f["value"])),
            _number(f"{words(f['low'])} to {words(f['high'])}" if f["low"] is not None else words(f["expected"])),
        ]
        for f in page.data["findings"]
    ]  # fmt: skip
    charts = [page.charts[f["chart"]].svg(height=150) for f in page.data["findings"][:_FINDINGS] if f["chart"]]
    return (
        f"<h3>{_strong(about['severity'], about['severity'])} #{_text(about['id'])} {_text(about['title'])}</h3>"
        f"{_table((), rows)}{page.charts['time_line'].svg()}"
        f"{_table(('where', 'what', 'began', 'value', 'expected'), findings)}{''.join(charts)}"
    )


def _task(page: Page) -> str:
    data = page.data
    window = data["window"]
    about = f"{data['task']['prediction']} against {data['task']['label']}"
    metrics = [[_text(m["title"]), _number(_value(m["value"], unit_of(m["metric"])))] for m in data["metrics"]]
    slices = [
        [
            _text(row["name"]), _number(_value(row["value"], unit_of(data["metric"]))), _number(f"{row['n']:,}"),
            _number(words(row["loss_share"], "share")),
        ]
        for row in data["slices"]["rows"]
    ]  # fmt: skip
    drawn = "".join(
        page.charts[name].svg()
        for name in ("metric", "volume", "coverage", "slices", "reliability", "confusion", "versions")
        if name in page.charts
    )
    shown = _table((" × ".join(data["slices"]["by"]), data["metric"], "records", "of the loss"), slices)
    return (
        f"<h2>{_text(data['task']['name'])}</h2>"
        f'<p class="quiet">{_text(data["task"]["kind"])}: {_text(about)}; '
        f"{_time(window['start'])} to {_time(window['end'])}</p>"
        f"{_table((), metrics)}{drawn}{shown if slices else ''}"
    )


def _value(found: Plain, unit: str) -> str:
    """A value with its interval, and what is not final about it."""
    if found["value"] is None:
        return f"no data: {found['reason']}"
    shown = words(found["value"], unit)
    if found["low"] is not None and found["high"] is not None:
        shown += f" ({words(found['low'], unit)} to {words(found['high'], unit)})"
    return shown + ("" if found["status"] == "settled" else f", {found['status']}")


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells, which are HTML."""
    head = f"<thead><tr>{''.join(f'<th>{_text(n)}</th>' for n in names)}</tr></thead>" if names else ""
    body = "".join(f"<tr>{''.join(c if c.startswith(('<td', '<th')) else f'<td>{c}</td>' for c in row)}</tr>"
                   for row in rows)  # fmt: skip
    return f"<table>{head}<tbody>{body}</tbody></table>" if body else ""


def _number(text: str) -> str:
    return f'<td class="number">{_text(text)}</td>'


def _strong(text: str, kind: str) -> str:
    return f'<strong class="{html.escape(kind)}">{_text(text)}</strong>'


def _slice(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _time(text: str | None) -> str:
    return _text(_plain_time(text))


def _plain_time(text: str | None) -> str:
    return "–" if text is None else text.replace("T", " ").removesuffix(":00Z").removesuffix(" 00:00")


def _text(text: str) -> str:
    """A user's text: short, printable, and escaped."""
    shown = "".join(c if c.isprintable() else " " for c in _short(text))
    return html.escape(shown.encode("utf-8", "replace").decode())


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
