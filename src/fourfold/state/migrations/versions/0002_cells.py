"""Counts with a cursor for each slice and custom metric, and first counts in pieces.

Tasks and slices are counted anew from the log: their bins and cursors have another form.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, write tasks in their new form, and let what is split or joined be counted anew."""
    op.create_table(
        "dimension",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("levels", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "stream", "definition"),
    )
    op.create_table(
        "custom",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("expressions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "task", "metric"),
    )
    op.create_table(
        "backfill",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("piece", sa.Integer(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", "job"),
    )
    connection = op.get_bind()
    logged = "owner IN (SELECT DISTINCT 'stream:' || stream FROM cursor)"
    anew = f"SELECT id FROM series WHERE owner LIKE 'task:%' OR {logged}"
    connection.execute(sa.text(f"DELETE FROM counts WHERE series_id IN ({anew})"))
    connection.execute(sa.text(f"DELETE FROM series WHERE owner LIKE 'task:%' OR {logged}"))
    connection.execute(sa.text("DELETE FROM binning WHERE owner LIKE 'task:%'"))
    connection.execute(sa.text("DELETE FROM cursor"))
    for project, name, text in connection.execute(sa.text("SELECT project, name, definition FROM task")).fetchall():
        connection.execute(
            sa.text("UPDATE task SET definition = :definition WHERE project = :project AND name = :name"),
            {"definition": _converted(text), "project": project, "name": name},
        )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("backfill", "custom", "dimension"):
        op.drop_table(name)


def _converted(text: str) -> str:
    old = json.loads(text)
    if "prediction_stream" not in old:
        return text
    new = {name: old[name] for name in ("name", "kind", "threshold", "horizon")}
    for side in ("prediction", "label"):
        new[side] = {"stream": old[f"{side}_stream"], "column": old[f"{side}_column"]}
    new["slices"] = [{"parts": [{"name": name, "buckets": 0, "sql": ""}]} for name in old["slices"]]
    new |= {"version": "", "probabilities": "", "classes": [], "query": "", "cutoffs": [], "outcome": None}
    return json.dumps({**new, "values": [], "sums": []}, sort_keys=True)
