"""Runs of jobs: claims, history, output."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "job_run",
        sa.Column("id", sa.String(32), primary_key=True),
        _text("job"), sa.Column("scheduled", _MOMENT, nullable=False),
        _text("cluster"), _text("database"), _text("node"),
        sa.Column("status", sa.String(20), nullable=False), sa.Column("noted", _MOMENT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False), sa.Column("token", sa.Integer(), nullable=False),
        _text("owner"),
        sa.Column("not_before", _MOMENT), sa.Column("begun", _MOMENT), sa.Column("ended", _MOMENT),
        _text("why"), _text("cancel"), _text("by"), _text("revision"),
        sa.Column("held_until", sa.Float(), nullable=False),
    )  # fmt: skip
    op.create_index("job_run_open", "job_run", ["status", "cluster"])
    op.create_index("job_run_by_time", "job_run", ["job", "scheduled"])
    op.create_index("job_run_newest", "job_run", ["scheduled", "id"])
    op.create_table(
        "job_step",
        sa.Column("run", sa.String(32), primary_key=True), sa.Column("step", sa.Text(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True), sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("check", sa.Boolean(), primary_key=True),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("begun", _MOMENT), sa.Column("ended", _MOMENT),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("rc", sa.Integer()), sa.Column("rows", sa.BigInteger()), sa.Column("value", sa.Text()),
        _text("output"), sa.Column("truncated", sa.Boolean(), nullable=False), _text("error"),
        sa.Column("already", sa.Boolean(), nullable=False),
    )  # fmt: skip
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "job_output",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("run", sa.String(32), nullable=False),
        _text("step"), sa.Column("number", sa.Integer(), nullable=False), _text("text"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("job_output_of", "job_output", ["run", "id"])
    op.create_table(
        "job_cursor",
        sa.Column("job", sa.Text(), primary_key=True), sa.Column("cluster", sa.Text(), primary_key=True),
        sa.Column("until", _MOMENT, nullable=False),
    )  # fmt: skip
