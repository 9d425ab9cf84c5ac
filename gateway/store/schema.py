"""The index's tables. Everything in them comes from records and journals and can be made again.

Types are those both databases have: text and integers. Times are UTC milliseconds. Text that is
compared or sorted is compared octet by octet, on PostgreSQL too, whatever its locale. ``node`` is
the one whose files a row comes from: in a cluster each node indexes, and rebuilds, its own.
"""

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from gateway.store.tables import TableSet

METADATA = MetaData()

Words = Text().with_variant(Text(collation="C"), "postgresql")

message = Table(
    "message",
    METADATA,
    Column("id", Words, primary_key=True),
    Column("node", Words, nullable=False),
    Column("direction", Words, nullable=False),
    Column("customer", Words, nullable=False),  # of all copies, empty when they differ
    Column("received_at_ms", BigInteger, nullable=False),
    Column("answered_at_ms", BigInteger),
    Column("handed_off_at_ms", BigInteger),
    Column("mail_from", Words, nullable=False),
    Column("sender_key", Words, nullable=False),  # mail_from, case-folded
    Column("from_header", Words, nullable=False),
    Column("from_key", Words, nullable=False),  # the same, case-folded
    Column("subject", Words, nullable=False),
    Column("message_id", Words, nullable=False),
    Column("search", Words, nullable=False),  # what a text filter looks into, case-folded
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Words, nullable=False),
    Column("score", Double),
    Column("verdict", Words, nullable=False),
    Column("model_id", Words, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("reply", Words, nullable=False),
    # Which line of which journal this row is from; the record file counts as before all of them.
    Column("source_at_ms", BigInteger, nullable=False),
    Column("source_file", Words, nullable=False),
    Column("source_offset", BigInteger, nullable=False),
    Column("facts", Words, nullable=False),  # all of them, as JSON; last, because it is long
    Index("message_by_message_id", "message_id"),
    Index("message_by_sender", "sender_key", "id"),
)

# Written out, because a partial index only serves a query that repeats its very words.
WAITING = text("state IN ('queued', 'released')")
LEASED = text("lease_until_ms > 0")

copy = Table(
    "copy",
    METADATA,
    Column("mail_id", Words, nullable=False),
    Column("recipient", Words, nullable=False),
    Column("node", Words, nullable=False),
    Column("rcpt_to", Words, nullable=False),
    Column("domain", Words, nullable=False),
    Column("customer", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("since_ms", BigInteger, nullable=False),  # when it came into this state
    Column("changed_at_ms", BigInteger, nullable=False),  # the last event that counted
    Column("next_hop", Words, nullable=False),
    Column("hold_reason", Words, nullable=False),
    Column("admin_only", Integer, nullable=False),
    Column("reply", Words, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at_ms", BigInteger),
    # The lease: not from any journal, gone with a rebuild, harmless when gone.
    Column("lease_owner", Words, nullable=False, server_default=""),
    Column("lease_until_ms", BigInteger, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("mail_id", "recipient"),
    Index("copy_by_state", "state", "mail_id", "recipient"),
    Index("copy_by_domain", "domain", "state", "mail_id"),
    Index("copy_by_recipient", "recipient", "mail_id"),
    Index("copy_by_expiry", "state", "expires_at_ms"),
    Index(
        "copy_due",
        "node",
        "next_attempt_at_ms",
        "mail_id",
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    ),
    Index(
        "copy_waiting",
        "node",
        "domain",
        "next_attempt_at_ms",
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    ),
    Index("copy_leased", "node", "lease_until_ms", sqlite_where=LEASED, postgresql_where=LEASED),
)

event = Table(
    "event",
    METADATA,
    Column("node", Words, nullable=False),
    Column("file", Words, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("what", Words, nullable=False),
    Column("mail_id", Words, nullable=False),
    Column("recipient", Words, nullable=False),
    Column("customer", Words, nullable=False),
    Column("detail", Words, nullable=False),
    PrimaryKeyConstraint("node", "file", "offset"),
    Index("event_by_mail", "mail_id", "at_ms", "file", "offset"),
)

label = Table(
    "label",
    METADATA,
    Column("node", Words, nullable=False),
    Column("file", Words, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("mail_id", Words, nullable=False),
    Column("recipient", Words, nullable=False),
    Column("customer", Words, nullable=False),
    Column("label", Words, nullable=False),
    Column("person", Words, nullable=False),
    Column("role", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("feature_spec", Words, nullable=False),
    Column("features", Words, nullable=False),  # JSON; they outlive the mail
    PrimaryKeyConstraint("node", "file", "offset"),
    Index("label_by_mail", "mail_id", "at_ms"),
    Index("label_by_time", "at_ms"),
)

availability_event = Table(
    "availability_event",
    METADATA,
    Column("node", Words, nullable=False),
    Column("file", Words, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("up", Integer, nullable=False),
    Column("detail", Words, nullable=False),
    PrimaryKeyConstraint("node", "file", "offset"),
    Index("availability_by_subject", "kind", "subject", "at_ms"),
)

journal_offset = Table(
    "journal_offset",
    METADATA,
    Column("node", Words, nullable=False),
    Column("file", Words, nullable=False),
    Column("offset", BigInteger, nullable=False),  # everything before it is in the rows above
    PrimaryKeyConstraint("node", "file"),
)

ROWS = (message, copy, event, label, availability_event, journal_offset)

INDEX = TableSet(
    name="index",
    metadata=METADATA,
    versions=Path(__file__).parent / "migrations" / "index" / "versions",
    current=1,
    mend="rebuild it with: schwamm reindex",
)
