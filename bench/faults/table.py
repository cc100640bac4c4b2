"""The tables of the fault benchmark."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from bench.faults.fault import DAYS, Fault, Roles, Size
from bench.faults.judge import Verdict, false_alarms
from bench.faults.peers import NAMES, PeerFound, PeerKey, sees
from bench.faults.pipelines import flights, synthetic
from bench.faults.registry import FAULTS
from bench.faults.replay import PIPELINES, Observed
from bench.measure import Report

TITLE = "Faults: what is found, when, and how many incidents it takes"
CLEAN = "Faults: replays without one"
ROLES = {"synthetic": synthetic.ROLES, "flights": flights.ROLES}
PeerAnswers = Mapping[PeerKey, PeerFound | str]
_OF_SERIES = (
    "Series: 200 seasonal, overdispersed, correlated columns over two years. Flights: by carrier and origin; they are "
    "real, and so are some of their incidents (hours without weather, a blizzard on 8 February)."
)


@dataclasses.dataclass(frozen=True)
class PeerColumns:
    """What the tables say of peers: their cells by fault and size, and what they flag without a fault."""

    cells: Mapping[tuple[int, Size], Sequence[str]]
    without: str

    @staticmethod
    def of(answers: PeerAnswers, failed: Mapping[str, str]) -> PeerColumns:
        """From what they said, or why they could not be asked."""
        keys = [(fault, size) for fault in FAULTS.values() for size in fault.sizes]
        cells = {(f.number, size): [_peer(name, f, size, answers, failed) for name in NAMES] for f, size in keys}
        return PeerColumns(cells, _clean_peers(answers))

    @staticmethod
    def standing(text: str) -> PeerColumns:
        """From RESULTS.md, where peers are not asked again."""
        cells = {_key(row): row[-len(NAMES) :] for row in _rows(_section(text, TITLE))}
        return PeerColumns(cells, _section(text, CLEAN).partition(_OF_SERIES)[2].strip())


def write(
    report: Report,
    verdicts: Sequence[Verdict],
    clean: Sequence[Observed],
    peers: PeerColumns,
) -> None:
    """Report the faults, and the replays without one."""
    keys = dict.fromkeys((verdict.fault, verdict.size) for verdict in sorted(verdicts, key=_order))
    rows = [
        [*_row(FAULTS[number], size, verdicts), *peers.cells.get((number, size), [""] * len(NAMES))]
        for number, size in keys
    ]
    seeds = sorted({verdict.seed for verdict in verdicts})
    head = ["", "fault", "size", "injected", "detected", "located", "days to detect", "incidents", "unrelated"]
    report.table(TITLE, [*head, *NAMES.values()], rows, f"{_summary(verdicts)}\n\n{_note(seeds)}")
    if clean:
        report.table(
            CLEAN,
            ["pipeline", "replays", "days", "false incidents", "per 30 days", "on the sensor that is always null"],
            [_clean_row(name, [o for o in clean if o.pipeline == name]) for name in PIPELINES if _any(name, clean)],
            " ".join([_OF_SERIES, peers.without]).strip(),
        )


def refill(report: Report, text: str, peers: PeerColumns) -> None:
    """Report the tables of RESULTS.md as they stand, but for what they say of peers."""
    faults, clean = _section(text, TITLE), _section(text, CLEAN)
    cells = {_key(row): [*row[: -len(NAMES)], *peers.cells[_key(row)]] for row in _rows(faults)}
    lines = [f"| {' | '.join(cells[_key(_cells(line))])} |" if _is_row(line) else line for line in faults.splitlines()]
    report.section(TITLE, lines)
    report.section(CLEAN, [*clean.partition(_OF_SERIES)[0].splitlines(), " ".join([_OF_SERIES, peers.without]).strip()])


def _section(text: str, title: str) -> str:
    """What a section says, without its title."""
    return text.partition(f"\n## {title}\n\n")[2].partition("\n\n## ")[0].rstrip()


def _rows(section: str) -> list[list[str]]:
    return [_cells(line) for line in section.splitlines() if _is_row(line)]


def _is_row(line: str) -> bool:
    """Whether a line is that of a fault, which begins with its number."""
    return line.startswith("| ") and _cells(line)[0].isdigit()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def _key(row: Sequence[str]) -> tuple[int, Size]:
    return int(row[0]), Size(row[2])


def _order(verdict: Verdict) -> tuple[int, int]:
    return verdict.fault, list(Size).index(verdict.size)


def _any(name: str, clean: Sequence[Observed]) -> bool:
    return any(o.pipeline == name for o in clean)


def _row(fault: Fault, size: Size, verdicts: Sequence[Verdict]) -> list[str]:
    own = [v for v in verdicts if v.fault == fault.number and v.size is size]
    found = [v for v in own if v.detected]
    return [
        f"{fault.number}", fault.name, size.value, fault.sizes[size],
        _by_pipeline(own),
        f"{sum(v.located for v in own)} of {len(own)}",
        f"{statistics.median(v.delay or 0 for v in found):.1f}" if found else "",
        f"{statistics.mean(v.incidents for v in found):.1f}" if found else "",
        f"{statistics.mean(v.unrelated for v in own):.1f}",
    ]  # fmt: skip


def _by_pipeline(verdicts: Sequence[Verdict]) -> str:
    parts = []
    for name in dict.fromkeys(verdict.pipeline for verdict in verdicts):
        own = [verdict.detected for verdict in verdicts if verdict.pipeline == name]
        parts.append(f"{name} {sum(own)} of {len(own)}")
    return ", ".join(parts)


def _peer(name: str, fault: Fault, size: Size, peers: PeerAnswers, failed: Mapping[str, str]) -> str:
    if name in failed:
        return failed[name]
    if not sees(fault):
        return "cannot see"
    asked = {
        key.pipeline: answer
        for key, answer in peers.items()
        if (key.peer, key.fault, key.size, key.period) == (name, fault.number, size, "after")
    }
    answers = {pipeline: answer for pipeline, answer in asked.items() if isinstance(answer, PeerFound)}
    if not answers:
        return str(next(iter(asked.values()), ""))
    quiet = {pipeline: _before(name, pipeline, peers) for pipeline in answers}
    found = [_days(fault, pipeline, answer, quiet[pipeline]) for pipeline, answer in answers.items()]
    hits = [days for days in found if days is not None]
    return f"{len(hits)} of {len(answers)}" + (f", {statistics.median(hits):.0f} d" if hits else "")


def _days(fault: Fault, pipeline: str, answer: PeerFound, quiet: PeerFound) -> float | None:
    """The days until a peer flagged what the fault touches; None if it did not, or does without a fault too."""
    touched = touched_columns(fault, ROLES[pipeline]) - quiet.flagged.keys()
    return min((days for column, days in answer.flagged.items() if column in touched), default=None)


def _before(name: str, pipeline: str, peers: PeerAnswers) -> PeerFound:
    """What a peer flags without a fault."""
    found = [a for k, a in peers.items() if (k.peer, k.pipeline, k.period) == (name, pipeline, "before")]
    return next((answer for answer in found if isinstance(answer, PeerFound)), PeerFound({}))


def touched_columns(fault: Fault, roles: Roles) -> set[str]:
    """The columns of the exported records in which a peer could see the fault, and performance."""
    direct = {
        3: {roles.positive}, 7: {roles.drifting}, 11: {roles.unit}, 13: set(roles.joined), 18: {roles.sensor},
        14: {roles.slice}, 17: {"worker"}, 19: {"approved"}, 9: {"label"}, 12: {"label"}, 20: {"label"},
    }  # fmt: skip
    return direct.get(fault.number, set()) | {"score", "performance"}


def _summary(verdicts: Sequence[Verdict]) -> str:
    parts = []
    for size in Size:
        own = [verdict for verdict in verdicts if verdict.size is size]
        found = [verdict for verdict in own if verdict.detected]
        if own:
            parts.append(f"{size.value}: {len(found)} of {len(own)} detected ({len(found) / len(own):.0%})")
    found = [verdict for verdict in verdicts if verdict.detected]
    if found:
        parts.append(f"median time to detect {statistics.median(v.delay or 0 for v in found):.2f} days")
        parts.append(f"{statistics.mean(v.incidents for v in found):.2f} incidents per detected fault")
        parts.append(f"{statistics.mean(v.unrelated for v in verdicts):.2f} unrelated incidents per replay")
        offs = [v.off for v in found if v.off is not None]
        parts.append(f"the true onset lies in the incident's interval in {sum(o == 0 for o in offs)} of {len(offs)}")
    return "; ".join(parts) + "."


def _note(seeds: Sequence[int]) -> str:
    return (
        f"Each fault was injected alone, at a random hour of the last third of a replay, with seeds {_listed(seeds)}; "
        "limits were tuned on seeds 0, 1 and 100. It is detected if a new incident, which began no earlier than a day "
        "before it and within a week of it, touches what the fault broke or what follows from it; it is located if it "
        "touches what it broke. Days to detect count from when the data first show the fault (a wrong label: when it "
        "arrives) until the check that said so, one a day. Incidents are all that belong to the fault, unrelated are "
        "the others of the two weeks after it. Peers have their defaults, the 28 days before as reference and up to 14 "
        "days after (Evidently: the first 7 at once), on the first seed and with 48 of the synthetic sensors; a column "
        "that they also flag without a fault is not counted as a find, and 'cannot see' means that they have no "
        "notion of it."
    )


def _listed(seeds: Sequence[int]) -> str:
    return " and ".join(map(str, seeds))


def _clean_row(name: str, own: Sequence[Observed]) -> list[str]:
    days = sum(o.ended - o.began for o in own) / DAYS
    alarms = [alarm for o in own for alarm in false_alarms(o)]
    null = sum(any("dust_9" in f.where.column for f in alarm.findings) for alarm in alarms)
    shown = f"{null}" if name != "flights" else ""
    return [name, f"{len(own)}", f"{days:.0f}", f"{len(alarms)}", f"{len(alarms) / days * 30:.2f}", shown]


def _clean_peers(peers: PeerAnswers) -> str:
    """What peers flag without a fault, over the two weeks before it."""
    parts = []
    for name, title in NAMES.items():
        for pipeline in ROLES:
            before = _before(name, pipeline, peers)
            flags = f"{title} flags {len(before.flagged)} columns or metrics of {pipeline} in two weeks without a fault"
            if before.summary:
                flags += f", and its generated tests (DataSummaryPreset) fail for {before.summary} columns"
            if any(key.peer == name and key.pipeline == pipeline for key in peers):
                parts.append(f"{flags}.")
    return " ".join(parts)
