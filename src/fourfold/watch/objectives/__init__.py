"""Objectives (SLOs): error budgets, burn rates, and how each objective stands."""

from fourfold.watch.objectives.baseline import Baseline
from fourfold.watch.objectives.budget import Budget
from fourfold.watch.objectives.burn import Burn, Rule
from fourfold.watch.objectives.evaluate import is_by_events
from fourfold.watch.objectives.findings import findings
from fourfold.watch.objectives.report import ObjectiveView, Previous, report

__all__ = ["Baseline", "Budget", "Burn", "ObjectiveView", "Previous", "Rule", "findings", "is_by_events", "report"]
