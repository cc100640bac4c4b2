"""A run is one of its project: two projects may have runs of the same id, as each chooses its own."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_RUN = ("project", "id", "component", "status", "started", "ended", "at", "parent", "host", "process", "seen", "error",
        "code", "params", "metrics")  # fmt: skip
_ARTIFACT = ("run_id", "direction", "name", "kind", "fingerprint", "rows", "details")


def upgrade() -> None:
    """Make both tables anew with their rows; an artifact is of its run's project."""
    _set_aside()
    _make_run("project", "id")
    op.create_table(
        "artifact",
        sa.Column("project", sa.String(), nullable=False),
        *_columns_of_artifact(),
        sa.PrimaryKeyConstraint("project", "run_id", "direction", "name"),
        sa.ForeignKeyConstraint(["project", "run_id"], ["run.project", "run.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_artifact_fingerprint", "artifact", ["project", "fingerprint"])
    _fill("run", _RUN, "old_run AS a")
    _fill("artifact", ("project", *_ARTIFACT), "old_artifact AS a JOIN old_run AS r ON r.id = a.run_id")
    _drop_aside()


def downgrade() -> None:
    """Make them as they were; of runs of one id, the one of the first project stays."""
    _set_aside()
    _make_run("id")
    op.create_table(
        "artifact",
        *_columns_of_artifact(),
        sa.PrimaryKeyConstraint("run_id", "direction", "name"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_artifact_fingerprint", "artifact", ["fingerprint"])
    first = "(SELECT min(o.project) FROM old_run AS o WHERE o.id = {})"
    _fill("run", _RUN, f"old_run AS a WHERE a.project = {first.format('a.id')}")
    _fill("artifact", _ARTIFACT, f"old_artifact AS a WHERE a.project = {first.format('a.run_id')}")
    _drop_aside()


def _set_aside() -> None:
    """Copy the rows, and drop the tables: first the one that refers to the other, whose rows would go with it."""
    for name in ("artifact", "run"):
        op.execute(f"CREATE TABLE old_{name} AS SELECT * FROM {name}")
        op.drop_table(name)
    op.create_index("ix_old_run", "old_run", ["id"])


def _drop_aside() -> None:
    for name in ("old_artifact", "old_run"):
        op.drop_table(name)


def _make_run(*key: str) -> None:
    op.create_table(
        "run",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("at", sa.Float(), nullable=True),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(*key),
    )
    op.create_index("ix_run_component", "run", ["project", "component", "started"])


def _columns_of_artifact() -> list[sa.Column[Any]]:
    return [
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
    ]


def _fill(table: str, columns: tuple[str, ...], source: str) -> None:
    """Insert what ``source`` gives: an artifact's project stands with its run, all else in what is called a."""
    of_run = table == "artifact" and " AS r " in source
    given = ", ".join(f'{"r" if name == "project" and of_run else "a"}."{name}"' for name in columns)
    named = ", ".join(f'"{name}"' for name in columns)
    op.execute(f"INSERT INTO {table} ({named}) SELECT {given} FROM {source}")
