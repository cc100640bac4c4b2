"""The same component run with different code at the same time: online and offline, on two hosts, in two pipelines."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fourfold.model import Run
from fourfold.model.incident import Finding, Group, Severity
from fourfold.watch.runs.history import History, moment
from fourfold.watch.runs.telling import about

_RECENT = 40  # runs among which code alternates
_SWITCHES = 3  # v1, v2, v1, v2: a deployment is one switch, one that is rolled back two
_DEPLOYMENT = 1_800.0  # seconds that two versions may run side by side while one is deployed
_CONTEXTS: Sequence[tuple[str, Callable[[Run, History], str]]] = (
    ("in", lambda run, history: history.by_id[run.parent].component if run.parent in history.by_id else ""),
    ("on", lambda run, history: run.host),
    ("in process", lambda run, history: str(run.process)),
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Version:
    """What ran: a hash of the function's source, and the versions of the packages that it uses."""

    source: str
    packages: tuple[tuple[str, str], ...]


def discrepancies(history: History, now: float) -> list[Finding]:
    """Components of which two versions run by turns."""
    found = []
    for name in history.runs:
        runs = [run for run in history.runs[name] if run.code.get("source_hash") or run.code.get("packages")]
        if (finding := _alternating(runs[-_RECENT:], history)) is not None:
            found.append(finding)
    return found


def _alternating(runs: Sequence[Run], history: History) -> Finding | None:
    versions = [_version(run.code) for run in runs]
    if len(set(versions)) < 2:
        return None
    changes = [i for i in range(1, len(runs)) if versions[i] != versions[i - 1]]
    back = [i for i in changes if versions[i] in versions[: i - 1]]  # a version that had been replaced
    context, apart = _context(runs, versions, history)
    if not back or (len(changes) < _SWITCHES and not apart) or not _lasts(versions):
        return None
    first = changes[0]
    if moment(runs[-1]) - moment(runs[first]) < _DEPLOYMENT:
        return None
    latest = [i for i in range(len(runs)) if versions[i] == versions[-1]][-1]
    other = next(i for i in reversed(range(len(runs))) if versions[i] != versions[latest])
    said = (
        f"{runs[-1].component} runs by turns with different {_difference(versions[other], versions[latest])}{context}"
    )
    return about(
        "code_discrepancy", runs[first:], runs[first - 1], said, Severity.TICKET, group=Group.STATELESS_CROSS,
        value=float(len(set(versions))), expected=1.0, high=1.0, weight=1.0 + len(back),
    )  # fmt: skip


def _lasts(versions: Sequence[_Version]) -> bool:
    """Whether the newest runs still alternate, for about as many runs as lay between two switches."""
    lengths = [len(list(group)) for _, group in itertools.groupby(versions)]
    return lengths[-1] <= 2 * max(lengths[1:-1] or lengths) + 2


def _context(runs: Sequence[Run], versions: Sequence[_Version], history: History) -> tuple[str, bool]:
    """Where each version runs, if each has its own places; and whether two of these go on side by side.

    A process or host that is replaced in a deployment does not go on after the newer version has begun.
    """
    for word, of in _CONTEXTS:
        places = [of(run, history) for run in runs]
        by_version: dict[_Version, set[str]] = {}
        for place, version in zip(places, versions, strict=True):
            by_version.setdefault(version, set()).add(place)
        if len(set(places)) == sum(map(len, by_version.values())):
            named = sorted(sorted(several)[0] or "no other" for several in by_version.values())
            pairs = itertools.combinations(by_version, 2)
            return f", {word} {' and '.join(named[:3])}", any(_side_by_side(places, versions, *pair) for pair in pairs)
    return "", False


def _side_by_side(places: Sequence[str], versions: Sequence[_Version], a: _Version, b: _Version) -> bool:
    """Whether a place of the older version was there before the newer one began, and has run twice since, as has it."""
    older, newer = sorted((a, b), key=versions.index)
    began = versions.index(newer)
    before = {place for place, version in zip(places[:began], versions, strict=False) if version == older}
    since = [v for place, v in zip(places[began:], versions[began:], strict=True) if v == newer or place in before]
    return since.count(newer) >= 2 and since.count(older) >= 2


def _version(code: Mapping[str, Any]) -> _Version:
    packages = code.get("packages")
    known = packages.items() if isinstance(packages, Mapping) else ()
    return _Version(str(code.get("source_hash", "")), tuple(sorted((str(k), str(v)) for k, v in known)))


def _difference(a: _Version, b: _Version) -> str:
    parts = ["source"] if a.source != b.source else []
    ours, theirs = dict(a.packages), dict(b.packages)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            parts.append(f"{name} ({ours.get(name, 'none')} and {theirs.get(name, 'none')})")
    return ", ".join(parts[:4])
