"""The ways to answer a question about a metric: from counts, estimated, of two versions, or read from the log."""

from fourfold.store.answers.asked import Asked
from fourfold.store.answers.counted import counted
from fourfold.store.answers.estimated import estimated
from fourfold.store.answers.functions import from_log
from fourfold.store.answers.versions import of_versions

__all__ = ["Asked", "counted", "estimated", "from_log", "of_versions"]
