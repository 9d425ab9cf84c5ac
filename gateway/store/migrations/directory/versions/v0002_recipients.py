"""Which recipients a domain has."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """A default, because a release without the column may still write rows."""
    op.add_column("domain", sa.Column("recipients", Words, nullable=False, server_default="any"))
