"""Limits that set themselves: what is usual of each series, and which series have changed. Pure."""

from fourfold.watch.detect.detector import Detector
from fourfold.watch.detect.verdicts import Status, Verdicts

__all__ = ["Detector", "Status", "Verdicts"]
