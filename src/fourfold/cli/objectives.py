"""``fourfold objectives``: how each objective stands, and objectives from and for other systems."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from fourfold import sdk
from fourfold.cli.grid import Column, Grid, right, spare, squeezed
from fourfold.cli.options import JsonOption, ProjectOption, StoreOption, open_store, print_json, settings_of
from fourfold.cli.render import number
from fourfold.cli.screen import Words, console
from fourfold.config import FILE
from fourfold.errors import ConfigError, InputError
from fourfold.integrations import openslo
from fourfold.log import store_folder
from fourfold.model import ObjectiveStatus, Severity, Status, percent
from fourfold.model.objective import DURATION, FRESHNESS, length_text
from fourfold.state.objectives import listed
from fourfold.store import Store, is_store
from fourfold.watch.objectives import ObjectiveView, is_by_events, report

_MARKS = {  # the worst first
    ObjectiveStatus.MISSED: ("✖ missed", "red"), ObjectiveStatus.AT_RISK: ("◐ at risk", "yellow"),
    ObjectiveStatus.TOO_EARLY: ("· too early", "dim"), ObjectiveStatus.MET: ("● met", "green"),
    ObjectiveStatus.NO_DATA: ("· no data", "dim"),
}  # fmt: skip
_BAR = 10  # characters
_ALERTS = {Severity.PAGE: "red", Severity.TICKET: "yellow", Severity.NOTICE: ""}


def command(
    name: Annotated[str | None, typer.Argument(help="Show only this objective.")] = None,
    export: Annotated[Path | None, typer.Option("--export", help="Write the objectives as OpenSLO v1 YAML.")] = None,
    import_: Annotated[Path | None, typer.Option("--import", help="Declare the SLOs of an OpenSLO v1 file.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", help="Withdraw this objective.")] = None,
    store: StoreOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Show how each objective (SLO) stands: its value, error budget and burn rate, by slice."""
    if sum(given is not None for given in (export, import_, remove)) > 1:
        raise InputError("--export, --import and --remove are different commands; give one of them")
    if import_ is not None:
        _import(import_, store, project)
        return
    opened = open_store(store, project)
    if remove is not None:
        report(opened.caught_up(), time.time(), [remove])  # fails if there is none
        _session(store, project).withdraw(remove)
        console().print(Words(f"{remove} is withdrawn."))
        if any(objective.name == remove for objective in settings_of(store, project).objectives):
            what = f"{FILE} declares it too: remove [objective.{remove}] there, or it is declared again."
            console().print(Words(what, style="yellow"))
    elif export is not None:
        _export(opened, export, name)
    else:
        views = report(opened.caught_up(), time.time(), None if name is None else [name])
        print_json(views) if json else draw(views, console())


def draw(views: Sequence[ObjectiveView], out: Console) -> None:
    """The screen."""
    if not views:
        out.print('No objectives yet. Declare one with [bold]ff.objective("late-recall", "recall(late) >= 0.9")[/],')
        out.print("or in fourfold.toml, or read OpenSLO with [bold]fourfold objectives --import FILE[/].")
    for name in dict.fromkeys(view.name for view in views):
        _objective([view for view in views if view.name == name], out)


def _objective(views: Sequence[ObjectiveView], out: Console) -> None:
    first = views[0]
    title = squeezed(Words(first.name).plain, out.width - 4)
    out.print(Rule(Words(f" {title} ", style="bold"), align="left", style="dim"))
    out.print(Words(_about(first), style="dim"))
    by, slices = first.objective.by, first.unit in ("hours", "days")
    constants = any(view.baseline.value is not None for view in views)
    labelled = any(view.coverage is not None for view in views)
    table = Grid(
        *map(Column, by), "status", right("value"), *([right(f"good {first.unit}")] if slices else []), "budget left",
        right("burn"), *([spare("constant")] if constants else []), *([spare("labelled")] if labelled else []),
        keys=len(by) + 1,
    )  # fmt: skip
    for view in sorted(views, key=_worst_first):
        mark, colour = _MARKS[view.status]
        constant = view.baseline.value
        table.add_row(
            *(Words(str(view.slice.get(part, "–"))) for part in by), Words(mark, style=colour), _value(view),
            *([f"{view.good:,.0f} of {view.total:,.0f}"] if slices else []), _bar(view), _burn(view),
            *(["–" if constant is None else number(constant)] if constants else []),
            *([percent(view.coverage)] if labelled else []),
        )  # fmt: skip
    out.print(table)
    notes = [view.reason for view in views] if all(view.value.value is None for view in views) else []
    notes += [_estimated(view) for view in views if view.status is ObjectiveStatus.AT_RISK and view.estimate]
    notes += [_previous(view) for view in views if view.previous is not None and len(views) == 1]
    notes += [f"the best constant predictor: {first.baseline.words}" if first.baseline.words else ""]
    for note in list(dict.fromkeys(filter(None, notes)))[:4]:
        out.print(Words(note, style="dim"))
    out.print()


def _worst_first(view: ObjectiveView) -> tuple[int, float, str]:
    left = view.budget.remaining
    return list(_MARKS).index(view.status), 2.0 if left is None else left, str(sorted(view.slice.items()))


def _about(view: ObjectiveView) -> str:
    window = view.objective.window_text if view.objective.calendar else f"rolling {view.objective.window_text}"
    over = f", {view.elapsed:.0%} of it over" if view.elapsed < 1 else ""
    plain = view.unit in ("records", "runs") and view.objective.name_of_metric != DURATION
    goal = f", in {100 * view.goal:g} % of the {view.unit}" if not plain else ""
    owner = f", owner {view.objective.owner}" if view.objective.owner else ""
    return f"{view.expression}{goal}; {window} to {_moment(view.end)}{over}{owner}"


def _estimated(view: ObjectiveView) -> str:
    value = None if view.estimate is None else view.estimate.value
    return "" if value is None else f"estimated once all labels are in: {_shown(view, value)}"


def _previous(view: ObjectiveView) -> str:
    found = view.previous
    if found is None:
        return ""
    value = "" if found.value.value is None else f", {_shown(view, found.value.value)}"
    return f"the {view.objective.calendar} before: {found.status.value.replace('_', ' ')}{value}"


def _value(view: ObjectiveView) -> Words:
    value = view.value
    if value.value is None:
        return Words("–", style="dim")
    text = Words(_shown(view, value.value), style="bold yellow" if value.status is Status.PROVISIONAL else "bold")
    if value.low is not None and value.high is not None and value.high > value.low:
        text.append(f" ±{(value.high - value.low) / 2:.2g}", style="dim")
    return text


def _shown(view: ObjectiveView, value: float) -> str:
    if view.objective.name_of_metric in (DURATION, FRESHNESS):
        return length_text(round(value)) if value >= 1 else f"{value:.2g}s"
    return number(value)


def _bar(view: ObjectiveView) -> Words:
    """The budget that is left, as a bar and in percent; what is overspent is below zero."""
    left = view.budget.remaining
    if left is None:
        return Words("–", style="dim")
    full = round(min(max(left, 0.0), 1.0) * _BAR)
    colour = "red" if left <= 0 else "yellow" if left < 0.25 else "green"
    shown = Words("█" * full, style=colour).append("·" * (_BAR - full), style="dim")
    return shown.append(f" {100 * max(left, -9.99):.0f} %")


def _burn(view: ObjectiveView) -> Words:
    """The burn rate of the alert that fires; else of the slowest one, over its long window."""
    firing = next((burn for burn in view.burns if burn.fires), None)
    if firing is not None:
        style = _ALERTS[firing.rule.severity]
        return Words(f"{firing.long:.1f}× {firing.rule.severity.value}", style=style)
    return Words(f"{view.burns[-1].long:.1f}×" if view.burns and view.total else "–", style="dim")


def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(second))


def _export(opened: Store, file: Path, name: str | None) -> None:
    reader = opened.caught_up()
    report(reader, time.time(), [] if name is None else [name])
    wanted = [o for o in reader.recall(listed).values() if name in (None, o.name)]
    text = openslo.dumps((objective, is_by_events(reader, objective)) for objective in wanted)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error}") from error
    console().print(Words(f"{len(wanted)} objectives are in {file}."))


def _import(file: Path, store: str | None, project: str | None) -> None:
    try:
        found = openslo.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    session = _session(store, project)
    for objective in found:
        session.aim(objective)
    session.flush()
    console().print(Words(f"{len(found)} objectives of {file} are declared: {', '.join(o.name for o in found)}."))


def _session(store: str | None, project: str | None) -> sdk.Session:
    """A session that writes to the store, which may be a new one: objectives come before data."""
    settings = settings_of(store, project)
    known = is_store(store_folder(settings.store))
    return sdk.init(settings.store, open_store(store, project).project if known else settings.project)
