"""The directory's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("person", Words, nullable=False),
        sa.Column("what", Words, nullable=False),
        sa.Column("subject", Words, nullable=False),
        sa.Column("customer_id", Words, nullable=False),
        sa.Column("detail", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_by_time", "audit", ["at_ms"], unique=False)
    op.create_table(
        "config_generation",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("person", Words, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "customer",
        sa.Column("id", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "list_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("sender", Words, nullable=False),
        sa.Column("scope_kind", Words, nullable=False),
        sa.Column("scope", Words, nullable=False),
        sa.Column("customer_id", Words, nullable=False),
        sa.Column("note", Words, nullable=False),
        sa.Column("person", Words, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("list_entry_by_scope", "list_entry", ["scope_kind", "scope"], unique=False)
    op.create_table(
        "person",
        sa.Column("login", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("language", Words, nullable=False),
        sa.Column("disabled", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("login"),
    )
    op.create_table(
        "domain",
        sa.Column("name", Words, nullable=False),
        sa.Column("customer_id", Words, nullable=False),
        sa.Column("on_outage", Words, nullable=False),
        sa.Column("reject", sa.Integer(), nullable=False),
        sa.Column("unsure_score", sa.Double(), nullable=False),
        sa.Column("spam_score", sa.Double(), nullable=False),
        sa.Column("reject_score", sa.Double(), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=False),
        sa.Column("subject_tag", Words, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customer.id"],
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("domain_by_customer", "domain", ["customer_id"], unique=False)
    op.create_table(
        "grant",
        sa.Column("login", Words, nullable=False),
        sa.Column("role", Words, nullable=False),
        sa.Column("scope_kind", Words, nullable=False),
        sa.Column("scope", Words, nullable=False),
        sa.ForeignKeyConstraint(
            ["login"],
            ["person.login"],
        ),
        sa.PrimaryKeyConstraint("login", "role", "scope_kind", "scope"),
    )
    op.create_table(
        "identity",
        sa.Column("login", Words, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("secret", Words, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["login"],
            ["person.login"],
        ),
        sa.PrimaryKeyConstraint("login", "kind"),
    )
    op.create_table(
        "domain_alias",
        sa.Column("alias", Words, nullable=False),
        sa.Column("domain", Words, nullable=False),
        sa.ForeignKeyConstraint(
            ["domain"],
            ["domain.name"],
        ),
        sa.PrimaryKeyConstraint("alias"),
    )
    op.create_index("domain_alias_by_domain", "domain_alias", ["domain"], unique=False)
    op.create_table(
        "next_hop",
        sa.Column("domain", Words, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("target", Words, nullable=False),
        sa.ForeignKeyConstraint(
            ["domain"],
            ["domain.name"],
        ),
        sa.PrimaryKeyConstraint("domain", "position"),
    )
