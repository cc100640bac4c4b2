"""Which messages were taken: a row for each writer instead of one for each message; and what is to count once."""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and bring the notes over."""
    taken = op.create_table(
        "taken",
        sa.Column("writer", sa.String(), nullable=False),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("writer"),
    )
    op.create_table(
        "once",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_once_at", "once", ["at"])
    ranges: dict[str, list[tuple[int, int]]] = {}
    for message in op.get_bind().scalars(sa.text("select message from applied order by message")):
        writer, _, number = message.rpartition("-")
        ranges.setdefault(writer, []).append((int(number), int(number)))
    rows = [{"writer": w, "numbers": json.dumps(known), "at": time.time()} for w, known in ranges.items()]
    if rows:
        op.bulk_insert(taken, rows)
    op.drop_table("applied")


def downgrade() -> None:
    """Drop the tables; each message that is sent again is looked at anew."""
    op.drop_index("ix_once_at", "once")
    op.drop_table("once")
    op.drop_table("taken")
    op.create_table(
        "applied",
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("message"),
    )
