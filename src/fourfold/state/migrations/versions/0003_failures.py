"""Failures are remembered, so that what cannot be counted is tried again later and later, by whichever process."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "failure",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("again", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project", "job"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("failure")
