"""What a look found of a cluster's nodes stands beside its target's status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("status", sa.Column("nodes", sa.JSON(), nullable=True))
