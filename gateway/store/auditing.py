"""Who changed what in the directory, and when; written in the transaction of the change."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from gateway.store import codec
from gateway.store.directory_schema import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One action; ``detail`` is JSON."""

    at_ms: int
    person: str
    what: str
    subject: str
    customer: str
    detail: str


def write_audit(
    connection: Connection,
    now_ms: int,
    person: str,
    what: str,
    subject: str,
    *,
    customer: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Add one action."""
    row = {
        "at_ms": now_ms,
        "person": person,
        "what": what,
        "subject": subject,
        "customer_id": customer,
        "detail": codec.dump(dict(detail or {})),
    }
    connection.execute(insert(audit), row)


def read_audit(connection: Connection, limit: int) -> tuple[AuditRow, ...]:
    """The latest actions, newest first."""
    rows = connection.execute(select(audit).order_by(audit.c.id.desc()).limit(limit))
    return tuple(
        AuditRow(
            at_ms=row.at_ms,
            person=row.person,
            what=row.what,
            subject=row.subject,
            customer=row.customer_id,
            detail=row.detail,
        )
        for row in rows
    )
