"""The numbers of locks, so that who has lost one cannot write any more."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, with the row that all writers change."""
    fence = op.create_table(
        "fence",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.bulk_insert(fence, [{"name": "write", "number": 0, "at": 0.0}])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("fence")
