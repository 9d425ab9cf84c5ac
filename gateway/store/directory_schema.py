"""The directory's tables: customers, domains, people. They are the truth, not an index.

Reasons, scopes and kinds are words, times UTC milliseconds; what a release does not know yet
(TOTP, OIDC, list entries) has its place already, because these tables are migrated, never made
anew.
"""

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from gateway.store.tables import TableSet

METADATA = MetaData()

Words = Text().with_variant(Text(collation="C"), "postgresql")

customer = Table(
    "customer",
    METADATA,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

domain = Table(
    "domain",
    METADATA,
    Column("name", Words, primary_key=True),
    Column("customer_id", Words, ForeignKey("customer.id"), nullable=False),
    Column("on_outage", Words, nullable=False),
    Column("reject", Integer, nullable=False),
    Column("unsure_score", Double, nullable=False),
    Column("spam_score", Double, nullable=False),
    Column("reject_score", Double, nullable=False),
    Column("retention_days", Integer, nullable=False),
    Column("subject_tag", Words, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("recipients", Words, nullable=False, server_default="any"),
    Column("queue_hours", BigInteger, nullable=False, server_default="0"),
    Index("domain_by_customer", "customer_id"),
)

domain_alias = Table(
    "domain_alias",
    METADATA,
    Column("alias", Words, primary_key=True),
    Column("domain", Words, ForeignKey("domain.name"), nullable=False),
    Index("domain_alias_by_domain", "domain"),
)

next_hop = Table(
    "next_hop",
    METADATA,
    Column("domain", Words, ForeignKey("domain.name"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("target", Words, nullable=False),  # JSON
    PrimaryKeyConstraint("domain", "position"),
)

person = Table(
    "person",
    METADATA,
    Column("login", Words, primary_key=True),  # case-folded
    Column("name", Words, nullable=False),
    Column("language", Words, nullable=False),
    Column("disabled", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

identity = Table(
    "identity",
    METADATA,
    Column("login", Words, ForeignKey("person.login"), nullable=False),
    Column("kind", Words, nullable=False),  # password; later totp, oidc
    Column("secret", Words, nullable=False),  # of a password its argon2id hash
    Column("changed_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("login", "kind"),
)

grant = Table(
    "grant",
    METADATA,
    Column("login", Words, ForeignKey("person.login"), nullable=False),
    Column("role", Words, nullable=False),
    Column("scope_kind", Words, nullable=False),  # all, customer, domain, address
    Column("scope", Words, nullable=False),
    PrimaryKeyConstraint("login", "role", "scope_kind", "scope"),
)

list_entry = Table(
    "list_entry",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", Words, nullable=False),  # allow or block
    Column("sender", Words, nullable=False),
    Column("scope_kind", Words, nullable=False),
    Column("scope", Words, nullable=False),
    Column("customer_id", Words, nullable=False),
    Column("note", Words, nullable=False),
    Column("person", Words, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Index("list_entry_by_scope", "scope_kind", "scope"),
)

config_generation = Table(
    "config_generation",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("person", Words, nullable=False),
)

audit = Table(
    "audit",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("person", Words, nullable=False),
    Column("what", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("customer_id", Words, nullable=False),
    Column("detail", Words, nullable=False),  # JSON
    Index("audit_by_time", "at_ms"),
)

DIRECTORY = TableSet(
    name="directory",
    metadata=METADATA,
    versions=Path(__file__).parent / "migrations" / "directory" / "versions",
    current=3,
    mend="bring it back with: schwamm restore FILE",
)
