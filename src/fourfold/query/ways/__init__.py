"""The ways to answer a question about a metric: from counts, estimated, for two versions, or from the log."""

from fourfold.query.ways.counted import counted
from fourfold.query.ways.estimated import estimated
from fourfold.query.ways.from_log import from_log
from fourfold.query.ways.query import Query
from fourfold.query.ways.versions import of_versions

__all__ = ["Query", "counted", "estimated", "from_log", "of_versions"]
