"""The tables of the state. The migrations create them; a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)  # fmt: skip

from fourfold.model import Owner


class OwnerText(TypeDecorator[Owner]):
    """An owner as text, "stream:NAME" or "task:NAME": only here, for the tables."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Owner | None, dialect: Any) -> str | None:
        """See ``TypeDecorator``."""
        return None if value is None else value.key

    def process_result_value(self, value: str | None, dialect: Any) -> Owner | None:
        """See ``TypeDecorator``."""
        return None if value is None else Owner.from_key(value)


metadata = MetaData()

# catalogue --------------------------------------------------------------------------------------------------------

stream = Table(
    "stream",
    metadata,
    Column("project", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("key", String),  # the names that the key and the event time had where they were logged
    Column("time", String),
    Column("created", Float, nullable=False),
)

task = Table(
    "task",
    metadata,
    Column("project", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("created", Float, nullable=False),
)

binning = Table(
    "binning",
    metadata,
    Column("project", String, primary_key=True),
    Column("owner", OwnerText, primary_key=True),
    Column("column", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("from_bucket", BigInteger, nullable=False),
    Column("centre", Float, nullable=False),
    Column("scale", Float, nullable=False),
    Column("bits", Integer, nullable=False),
)

small_integer = Table(
    "small_integer",
    metadata,
    Column("project", String, primary_key=True),
    Column("owner", OwnerText, primary_key=True),
    Column("column", String, primary_key=True),
)

text_column = Table(  # from which event time on a text column is taken for an identifier; 2^62: not so far
    "text_column",
    metadata,
    Column("project", String, primary_key=True),
    Column("owner", OwnerText, primary_key=True),
    Column("column", String, primary_key=True),
    Column("identifier_from", BigInteger, nullable=False),
)

closed = Table(  # of which records the stream was made to forget the older ones while their counts stayed
    "closed",
    metadata,
    Column("project", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("before", BigInteger, nullable=False),  # a midnight, in seconds since 1970
)

dimension = Table(  # what is fixed of a way to split a stream's records: the edges of buckets, the values kept
    "dimension",
    metadata,
    Column("project", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("definition", Text, primary_key=True),
    Column("levels", Text, nullable=False),
)

custom = Table(  # metrics that users have defined by sums of SQL expressions
    "custom",
    metadata,
    Column("project", String, primary_key=True),
    Column("task", String, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("expressions", Text, nullable=False),
)

backfill = Table(  # how far the first count of a whole log has come: the next piece of so many, at these versions
    "backfill",
    metadata,
    Column("project", String, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("versions", Text, nullable=False),
    Column("piece", Integer, nullable=False),
    Column("pieces", Integer, nullable=False),
)

cursor = Table(  # up to which version of a stream's log a fold has counted
    "cursor",
    metadata,
    Column("project", String, primary_key=True),
    Column("job", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

failure = Table(  # owners that could not be counted: why, the number of tries, and the time of the next
    "failure",
    metadata,
    Column("project", String, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("again", Float, nullable=False),
)

taken = Table(  # the numbers of each writer's messages that were taken, and when the newest one was seen
    "taken",
    metadata,
    Column("writer", String, primary_key=True),
    Column("numbers", Text, nullable=False),
    Column("at", Float, nullable=False),
)

once = Table(  # what a sender named so that it counts once, and in which message it does
    "once",
    metadata,
    Column("name", String, primary_key=True),
    Column("message", String, nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_once_at", "at"),
)

fence = Table(  # how often each lock was acquired that can be lost; under "write", how often the state was written
    "fence",
    metadata,
    Column("name", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
)

# counts -----------------------------------------------------------------------------------------------------------

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String, nullable=False),
    Column("owner", OwnerText, nullable=False),
    Column("column", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("slice", String, nullable=False),
    UniqueConstraint("project", "owner", "column", "kind", "slice", name="uq_series"),
)

counts = Table(  # the small columns stand first, so that reading them does not touch the packed bins
    "counts",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("bucket", BigInteger, primary_key=True),
    Column("binning", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),  # with a size (counts.sizes)
    Column("tallies", LargeBinary, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("size", Integer, nullable=False),
    Column("bins", LargeBinary, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Column("registers", LargeBinary, nullable=False),
)

# runs -------------------------------------------------------------------------------------------------------------

run = Table(  # an id is whatever who reports the run says, so that two projects may have the same one
    "run",
    metadata,
    Column("project", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("component", String, nullable=False),
    Column("status", String, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("at", Float),
    Column("parent", String),
    Column("host", String, nullable=False),
    Column("process", Integer, nullable=False),
    Column("seen", Float),  # the newest sign of life of a run that lasts
    Column("error", Text),
    Column("code", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Index("ix_run_component", "project", "component", "started"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("project", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("direction", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("rows", BigInteger),
    Column("details", Text, nullable=False),
    ForeignKeyConstraint(["project", "run_id"], ["run.project", "run.id"], ondelete="CASCADE"),
    Index("ix_artifact_fingerprint", "project", "fingerprint"),
)

# watching ---------------------------------------------------------------------------------------------------------

objective = Table(
    "objective",
    metadata,
    Column("project", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("created", Float, nullable=False),
)

incident = Table(  # ``state`` and the times stand in the definition too; they are columns to select by
    "incident",
    metadata,
    Column("project", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("opened", Float, nullable=False),
    Column("resolved", Float),
    Column("definition", Text, nullable=False),
    Index("ix_incident_state", "project", "state"),
)

memory = Table(  # what is remembered: a detector's history, what fourfold.toml declared last
    "memory",
    metadata,
    Column("project", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

notice = Table(  # what is to be sent to whom: the outbox
    "notice",
    metadata,
    Column("id", String, primary_key=True),
    Column("project", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("incident", Integer, nullable=False),
    Column("event", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("again", Float, nullable=False),
    Column("sent", Float),
    Column("error", Text),
    Index("ix_notice_sent", "project", "sent"),
)

# serving ----------------------------------------------------------------------------------------------------------

token = Table(  # who may use a server: the hash of each secret, its role, and the projects that it is good for
    "token",
    metadata,
    Column("id", String, primary_key=True),
    Column("hash", String, nullable=False),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("projects", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
)

login = Table(  # the sessions of people who came with a token
    "login",
    metadata,
    Column("hash", String, primary_key=True),
    Column("token", String, nullable=False),
    Column("expires", Float, nullable=False),
)
