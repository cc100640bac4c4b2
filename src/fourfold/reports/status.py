"""The pipeline and its tasks at a glance."""

from __future__ import annotations

import dataclasses
import html

from fourfold.query.reader import Reader
from fourfold.query.table import Table
from fourfold.reports.components import ComponentView, components
from fourfold.reports.drift import Drift, drift
from fourfold.reports.joins import Join, joins
from fourfold.reports.problems import Problem, problems
from fourfold.reports.tasks import TaskView, tasks


@dataclasses.dataclass(frozen=True, repr=False)
class StatusReport:
    """The components and their health, each task's main metrics, joins, drift, and problems."""

    components: Table[ComponentView]
    tasks: Table[TaskView]
    joins: Table[Join]
    drift: Table[Drift]
    problems: Table[Problem]

    def __repr__(self) -> str:
        lines = [f"{len(self.components)} components, {len(self.tasks)} tasks, {len(self.problems)} problems"]
        for view in self.tasks:
            shown = (f"{name} {value.value:.4g}" for name, value in view.values.items() if value.value is not None)
            lines.append(f"  task {view.task.name}: {', '.join(shown) or 'no data'}")
        lines += [f"  ! {problem.subject}: {problem.message}" for problem in self.problems]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The report for a notebook: no scripts, all text escaped."""
        sections = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        shown = {name: section for name, section in sections.items() if section}
        drawn = "".join(view.chart.svg() for view in self.tasks if view.chart is not None)
        tables = {name: (drawn if name == "tasks" else "") + section._repr_html_() for name, section in shown.items()}
        return "".join(f"<h4>{html.escape(name)}</h4>{table}" for name, table in tables.items())


def status(reader: Reader) -> StatusReport:
    """What ``fourfold status`` shows."""
    return StatusReport(components(reader), tasks(reader), joins(reader), drift(reader), problems(reader))
