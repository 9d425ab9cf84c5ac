"""Queue work is claimed by lease: owner, until, fencing number, in one UPDATE ... RETURNING.

No transaction stays open during a delivery. A lease that ran out may be claimed by another; its
fence grew then, and the first owner can no longer finish (data model, section 1).
"""

from collections.abc import Collection

from sqlalchemy import Row, bindparam, func, select, update

from gateway.core.errors import ConfigError
from gateway.core.queueing import Claim
from gateway.core.record import CopyState
from gateway.core.routing import NextHop, parse_next_hop
from gateway.store.engine import Database
from gateway.store.schema import LEASED, WAITING, copy


class Leases:
    """The waiting copies of one node. Calls block for the database."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._ours = copy.c.node == node

    def claim(
        self, *, owner: str, now_ms: int, lease_ms: int, limit: int, without: Collection[str]
    ) -> list[Claim]:
        """Take up to ``limit`` due copies, oldest due time first.

        ``without`` names recipient domains whose copies are not wanted now. Claimers side by side
        never get the same copy.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        wanted = {
            "here": self._node,
            "now_ms": now_ms,
            "most": limit,
            "without": list(without),
            "owner": owner,
            "until_ms": now_ms + lease_ms,
        }
        with self._database.write() as connection:
            rows = list(connection.execute(_TAKE, wanted))
        rows.sort(key=lambda row: (row.next_attempt_at_ms, row.mail_id, row.recipient))
        return [_claim(row) for row in rows]

    def extend(self, claim: Claim, until_ms: int) -> bool:
        """Prolong a lease; False when it is no longer ours.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        with self._database.write() as connection:
            mine = _key(claim) | {"until_ms": until_ms}
            return connection.execute(_EXTEND, mine).rowcount == 1

    def give_back(self, claim: Claim) -> bool:
        """End a lease; False when it was no longer ours.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        with self._database.write() as connection:
            return connection.execute(_GIVE_BACK, _key(claim)).rowcount == 1

    def give_back_all(self, owner: str) -> int:
        """End every lease of an owner that is known to be gone; how many they were.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        ending = update(copy).where(LEASED, self._ours, copy.c.lease_owner == owner)
        with self._database.write() as connection:
            return connection.execute(ending.values(lease_owner="", lease_until_ms=0)).rowcount

    def make_due(self, domains: Collection[str], now_ms: int) -> int:
        """Set the next attempt of all waiting copies of these domains to now; their number.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        later = (WAITING, self._ours, copy.c.domain.in_(domains))
        hurry = update(copy).where(*later, copy.c.next_attempt_at_ms > now_ms)
        with self._database.write() as connection:
            return connection.execute(hurry.values(next_attempt_at_ms=now_ms)).rowcount

    def next_due_ms(self) -> int | None:
        """When the earliest waiting copy is due or its lease runs out; None: none waits.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        with self._database.read() as connection:
            moments = [
                connection.execute(query, {"here": self._node}).scalar()
                for query in (_FIRST_DUE, _FIRST_LEASE)
            ]
        return min((moment for moment in moments if moment is not None), default=None)

    def waiting_domains(self) -> list[str]:
        """Recipient domains that have waiting copies, sorted.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        query = select(copy.c.domain).where(WAITING, self._ours).distinct()
        with self._database.read() as connection:
            return sorted(connection.execute(query.order_by(copy.c.domain)).scalars())


_CLAIMED = (
    copy.c.mail_id,
    copy.c.recipient,
    copy.c.domain,
    copy.c.state,
    copy.c.attempts,
    copy.c.since_ms,
    copy.c.lease_until_ms,
    copy.c.fence,
    copy.c.next_hop,
)

# Built once: putting a statement together costs more than SQLite needs to run it.
_DUE = (
    select(copy.c.mail_id, copy.c.recipient)
    .where(WAITING, copy.c.node == bindparam("here"))
    .where(copy.c.next_attempt_at_ms <= bindparam("now_ms"))
    .where(copy.c.lease_until_ms <= bindparam("now_ms"))
    .where(copy.c.domain.not_in(bindparam("without", expanding=True)))
    .order_by(copy.c.next_attempt_at_ms, copy.c.mail_id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer anyway
    .cte("due")
)
_TAKE = (
    update(copy)
    .where(copy.c.mail_id == _DUE.c.mail_id, copy.c.recipient == _DUE.c.recipient)
    .values(
        lease_owner=bindparam("owner"),
        lease_until_ms=bindparam("until_ms"),
        fence=copy.c.fence + 1,
    )
    .returning(*_CLAIMED, copy.c.next_attempt_at_ms)
)
_MINE = update(copy).where(
    copy.c.mail_id == bindparam("mail"),
    copy.c.recipient == bindparam("whose"),
    copy.c.fence == bindparam("which"),
    copy.c.lease_owner != "",
)
_EXTEND = _MINE.values(lease_until_ms=bindparam("until_ms"))
_GIVE_BACK = _MINE.values(lease_owner="", lease_until_ms=0)
_FIRST_DUE = select(func.min(copy.c.next_attempt_at_ms)).where(
    WAITING, copy.c.node == bindparam("here"), copy.c.lease_until_ms == 0
)
_FIRST_LEASE = select(func.min(copy.c.lease_until_ms)).where(
    LEASED, WAITING, copy.c.node == bindparam("here")
)


def _claim(row: Row[tuple[str, str, str, str, int, int, int, int, str, int | None]]) -> Claim:
    return Claim(
        mail_id=row.mail_id,
        recipient=row.recipient,
        domain=row.domain,
        state=CopyState(row.state),
        attempts=row.attempts,
        since_ms=row.since_ms,
        lease_until_ms=row.lease_until_ms,
        fence=row.fence,
        next_hop=_next_hop(row.next_hop),
    )


def _next_hop(text: str) -> NextHop | None:
    """As the journal had it; what this release cannot read is looked up anew by the runner."""
    try:
        return parse_next_hop(text) if text else None
    except ConfigError:
        return None


def _key(claim: Claim) -> dict[str, str | int]:
    return {"mail": claim.mail_id, "whose": claim.recipient, "which": claim.fence}
