"""Objectives (SLOs): error budgets, burn rates, and how each objective stands."""

from fourfold.watch.objectives.baseline import Baseline
from fourfold.watch.objectives.budget import Budget
from fourfold.watch.objectives.burn import Burn, Rule
from fourfold.watch.objectives.findings import findings
from fourfold.watch.objectives.report import ObjectiveView, report

__all__ = ["Baseline", "Budget", "Burn", "ObjectiveView", "Rule", "findings", "report"]
