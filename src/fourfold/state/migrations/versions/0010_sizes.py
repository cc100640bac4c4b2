"""Room for the numbers of rows that are separate by size: they have more than 32 bits, as SQLite has for all."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the column, where its type has a width."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("counts", "binning", type_=sa.BigInteger(), existing_nullable=False)


def downgrade() -> None:
    """Make it as narrow as it was; the rows that do not fit are dropped, as their tasks could not be counted."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("delete from counts where binning > 2147483647")
        op.alter_column("counts", "binning", type_=sa.Integer(), existing_nullable=False)
