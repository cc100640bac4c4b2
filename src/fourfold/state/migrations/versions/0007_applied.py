"""When messages were taken: notes of them are kept for as long as one may arrive once more."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of those noted before, nothing else can be said."""
    op.add_column("applied", sa.Column("at", sa.Float(), nullable=False, server_default="0"))
    with op.batch_alter_table("applied") as table:
        table.alter_column("at", server_default=None)


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("applied") as table:
        table.drop_column("at")
