"""The index's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "availability_event",
        sa.Column("node", Words, nullable=False),
        sa.Column("file", Words, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("subject", Words, nullable=False),
        sa.Column("up", sa.Integer(), nullable=False),
        sa.Column("detail", Words, nullable=False),
        sa.PrimaryKeyConstraint("node", "file", "offset"),
    )
    op.create_index(
        "availability_by_subject", "availability_event", ["kind", "subject", "at_ms"], unique=False
    )
    op.create_table(
        "copy",
        sa.Column("mail_id", Words, nullable=False),
        sa.Column("recipient", Words, nullable=False),
        sa.Column("node", Words, nullable=False),
        sa.Column("rcpt_to", Words, nullable=False),
        sa.Column("domain", Words, nullable=False),
        sa.Column("customer", Words, nullable=False),
        sa.Column("action", Words, nullable=False),
        sa.Column("state", Words, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_hop", Words, nullable=False),
        sa.Column("hold_reason", Words, nullable=False),
        sa.Column("admin_only", sa.Integer(), nullable=False),
        sa.Column("reply", Words, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", Words, server_default="", nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("mail_id", "recipient"),
    )
    op.create_index("copy_by_domain", "copy", ["domain", "state", "mail_id"], unique=False)
    op.create_index("copy_by_expiry", "copy", ["state", "expires_at_ms"], unique=False)
    op.create_index("copy_by_recipient", "copy", ["recipient", "mail_id"], unique=False)
    op.create_index("copy_by_state", "copy", ["state", "mail_id", "recipient"], unique=False)
    op.create_index(
        "copy_due",
        "copy",
        ["node", "next_attempt_at_ms", "mail_id"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'released')"),
        postgresql_where=sa.text("state IN ('queued', 'released')"),
    )
    op.create_index(
        "copy_leased",
        "copy",
        ["node", "lease_until_ms"],
        unique=False,
        sqlite_where=sa.text("lease_until_ms > 0"),
        postgresql_where=sa.text("lease_until_ms > 0"),
    )
    op.create_index(
        "copy_waiting",
        "copy",
        ["node", "domain", "next_attempt_at_ms"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'released')"),
        postgresql_where=sa.text("state IN ('queued', 'released')"),
    )
    op.create_table(
        "event",
        sa.Column("node", Words, nullable=False),
        sa.Column("file", Words, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("what", Words, nullable=False),
        sa.Column("mail_id", Words, nullable=False),
        sa.Column("recipient", Words, nullable=False),
        sa.Column("customer", Words, nullable=False),
        sa.Column("detail", Words, nullable=False),
        sa.PrimaryKeyConstraint("node", "file", "offset"),
    )
    op.create_index("event_by_mail", "event", ["mail_id", "at_ms", "file", "offset"], unique=False)
    op.create_table(
        "journal_offset",
        sa.Column("node", Words, nullable=False),
        sa.Column("file", Words, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "file"),
    )
    op.create_table(
        "label",
        sa.Column("node", Words, nullable=False),
        sa.Column("file", Words, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("mail_id", Words, nullable=False),
        sa.Column("recipient", Words, nullable=False),
        sa.Column("customer", Words, nullable=False),
        sa.Column("label", Words, nullable=False),
        sa.Column("person", Words, nullable=False),
        sa.Column("role", Words, nullable=False),
        sa.Column("source", Words, nullable=False),
        sa.Column("reason", Words, nullable=False),
        sa.Column("feature_spec", Words, nullable=False),
        sa.Column("features", Words, nullable=False),
        sa.PrimaryKeyConstraint("node", "file", "offset"),
    )
    op.create_index("label_by_mail", "label", ["mail_id", "at_ms"], unique=False)
    op.create_index("label_by_time", "label", ["at_ms"], unique=False)
    op.create_table(
        "message",
        sa.Column("id", Words, nullable=False),
        sa.Column("node", Words, nullable=False),
        sa.Column("direction", Words, nullable=False),
        sa.Column("customer", Words, nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("handed_off_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("mail_from", Words, nullable=False),
        sa.Column("sender_key", Words, nullable=False),
        sa.Column("from_header", Words, nullable=False),
        sa.Column("from_key", Words, nullable=False),
        sa.Column("subject", Words, nullable=False),
        sa.Column("message_id", Words, nullable=False),
        sa.Column("search", Words, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", Words, nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("verdict", Words, nullable=False),
        sa.Column("model_id", Words, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("reply", Words, nullable=False),
        sa.Column("source_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("source_file", Words, nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.Column("facts", Words, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("message_by_message_id", "message", ["message_id"], unique=False)
    op.create_index("message_by_sender", "message", ["sender_key", "id"], unique=False)
