"""How long a domain's mail may wait in the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Zero means the setting of the machine; a release without the column writes that."""
    op.add_column(
        "domain", sa.Column("queue_hours", sa.BigInteger, nullable=False, server_default="0")
    )
