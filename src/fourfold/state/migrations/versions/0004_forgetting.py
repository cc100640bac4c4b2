"""Which text columns are identifiers, and before which moments streams have forgotten their records.

What was counted by values longer than a label is counted anew from the log: such values have other labels now.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LONGEST = 120


def upgrade() -> None:
    """Make the tables; text columns that are known are counted by value until they are judged."""
    op.create_table(
        "text_column",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("column", sa.String(), nullable=False),
        sa.Column("identifier_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "owner", "column"),
    )
    op.create_table(
        "closed",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "stream"),
    )
    connection = op.get_bind()
    connection.execute(
        sa.text(
            f'INSERT INTO text_column SELECT DISTINCT project, owner, "column", {2**62} FROM series '
            "WHERE kind = 'category' AND owner LIKE 'stream:%'"
        )
    )
    _count_anew(connection, _with_long_labels(connection))


def downgrade() -> None:
    """Drop the tables."""
    for name in ("closed", "text_column"):
        op.drop_table(name)


def _with_long_labels(connection: sa.Connection) -> set[tuple[str, str]]:
    """The owners that come from a log and have a label or a slice that is too long now."""
    rows = connection.execute(
        sa.text(
            "SELECT s.project, s.owner, s.slice, c.size, c.bins FROM series s JOIN counts c ON c.series_id = s.id "
            f"WHERE length(s.slice) > {_LONGEST} OR (length(c.bins) > 4 * c.size + {_LONGEST} AND s.kind IN "
            "('category', 'multiclass', 'multilabel', 'decision', 'paired'))"
        )
    )
    found = set()
    for project, owner, slice_, size, packed in rows:
        lengths = memoryview(packed)[: 4 * size].cast("i") if size else ()
        if len(slice_) > _LONGEST or max(lengths, default=0) > _LONGEST:
            found.add((project, owner))
    counted = connection.execute(sa.text("SELECT DISTINCT project, job FROM cursor")).fetchall()
    return {(project, owner) for project, owner in found if any(p == project and owner in job for p, job in counted)}


def _count_anew(connection: sa.Connection, owners: set[tuple[str, str]]) -> None:
    ids = "SELECT id FROM series WHERE project = :project AND owner = :owner"
    for project, owner in owners:
        place = {"project": project, "owner": owner}
        connection.execute(sa.text(f"DELETE FROM counts WHERE series_id IN ({ids})"), place)
        connection.execute(sa.text("DELETE FROM series WHERE project = :project AND owner = :owner"), place)
        named = json.dumps(owner, ensure_ascii=False)
        for table in ("cursor", "backfill", "failure"):
            query = sa.text(f"DELETE FROM {table} WHERE project = :project AND job = :job")
            jobs = connection.execute(sa.text(f"SELECT DISTINCT job FROM {table} WHERE project = :project"), place)
            for (job,) in jobs.fetchall():
                if named in job:
                    connection.execute(query, {"project": project, "job": job})
        connection.execute(
            sa.text("DELETE FROM dimension WHERE project = :project AND :owner = 'stream:' || stream"), place
        )
