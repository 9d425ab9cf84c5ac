"""Customers and their domains: changed here, served from snapshots.

A change, its audit row and the number of the generation it makes are one transaction; then the
snapshot is written. If a crash comes between, opening the directory writes it.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import argon2
from sqlalchemy import Connection, delete, func, insert, select

from gateway.core.addresses import normal_domain
from gateway.core.clock import Clock
from gateway.core.errors import AddressError, ConfigError
from gateway.core.recipients import parse_recipient_rules
from gateway.core.routing import LONGEST_QUEUE_H, Domain, Generation, OnOutage
from gateway.store import codec, generations, identities
from gateway.store.auditing import AuditRow, read_audit, write_audit
from gateway.store.directory_schema import (
    DIRECTORY,
    config_generation,
    customer,
    domain,
    domain_alias,
    next_hop,
)
from gateway.store.engine import Database
from gateway.store.errors import DirectoryError
from gateway.store.people import People


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Whom the agency serves."""

    id: str
    name: str


class Directory:
    """The directory database and the snapshots made from it. Calls block for the database.

    Raises:
        IndexUnavailableError: from every method, when the database cannot be used.
    """

    def __init__(
        self, database: Database, snapshots: Path, clock: Clock, hasher: argon2.PasswordHasher
    ) -> None:
        self._database = database
        self._snapshots = snapshots
        self._clock = clock
        self.people = People(database, clock, hasher, on_change=self._publish_people)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        snapshots: Path,
        clock: Clock,
        hasher: argon2.PasswordHasher | None = None,
    ) -> Self:
        """Open the directory, and write the snapshot in force if it is missing or damaged.

        ``hasher`` sets the cost of passwords; without it, the library's advice (RFC 9106).

        Raises:
            IndexUnavailableError: locked, corrupt, unreachable, or of a newer schema; with the
            mend.
            DirectoryError: the database is new and empty, but somebody is being served.
            StorageError: the snapshot cannot be written.
        """
        database = Database.open(url, DIRECTORY, durable=True)
        directory = cls(database, snapshots, clock, hasher or argon2.PasswordHasher())
        try:
            directory._publish_if_missing()
            directory._publish_people()
        except BaseException:
            directory.close()
            raise
        return directory

    def close(self) -> None:
        """Give the database back."""
        self._database.close()

    def generation(self) -> Generation:
        """The newest generation, as the database has it; number 0 while nobody is served."""
        with self._database.read() as connection:
            return _generation(connection)

    def customers(self) -> tuple[Customer, ...]:
        """All customers, by id."""
        with self._database.read() as connection:
            rows = connection.execute(select(customer.c.id, customer.c.name).order_by("id"))
            return tuple(Customer(id=row.id, name=row.name) for row in rows)

    def domains(self) -> tuple[Domain, ...]:
        """All served domains, by name."""
        return self.generation().domains

    def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """The latest changes, newest first."""
        with self._database.read() as connection:
            return read_audit(connection, limit)

    def add_customer(self, new: Customer, *, by: str) -> Generation:
        """Take in a customer.

        Raises:
            DirectoryError: the id is taken or empty.
        """
        if not new.id or not new.id.isprintable() or len(new.id) > 100:
            raise DirectoryError("a customer's id is a short word")
        with self._changing(by, "customer.add", new.id, customer=new.id) as connection:
            if _customer_exists(connection, new.id):
                raise DirectoryError(f"there is a customer {new.id!r} already")
            row = {"id": new.id, "name": new.name, "created_at_ms": self._clock.now_ms()}
            connection.execute(insert(customer), row)
        return self._published()

    def remove_customer(self, customer_id: str, *, by: str) -> Generation:
        """Let go of a customer that has no domains any more.

        Raises:
            DirectoryError: there is none of this id, or it has domains.
        """
        with self._changing(by, "customer.remove", customer_id, customer=customer_id) as connection:
            _require_customer(connection, customer_id)
            query = select(domain.c.name).where(domain.c.customer_id == customer_id)
            names = connection.execute(query.order_by(domain.c.name)).scalars().all()
            if names:
                raise DirectoryError(f"customer {customer_id!r} has domains: {', '.join(names)}")
            connection.execute(delete(customer).where(customer.c.id == customer_id))
        return self._published()

    def add_domain(self, new: Domain, *, by: str) -> Generation:
        """Serve a domain; one without a customer becomes its own, by its name.

        Raises:
            DirectoryError: a name is wrong or served already, or there is no such customer.
        """
        new = _normal(new)
        with self._changing(by, "domain.add", new.name, new.customer) as connection:
            if new.customer == new.name and not _customer_exists(connection, new.name):
                row = {"id": new.name, "name": new.name, "created_at_ms": self._clock.now_ms()}
                connection.execute(insert(customer), row)
            _require_customer(connection, new.customer)
            _refuse_served_names(connection, new)
            _write_domain(connection, new, self._clock.now_ms())
        return self._published()

    def set_domain(self, name: str, change: Callable[[Domain], Domain], *, by: str) -> Generation:
        """Change a domain: ``change`` gets it as it is and gives it as it shall be.

        Raises:
            DirectoryError: it is not served, or cannot be as it shall.
        """
        name = _normal_name(name)
        with self._changing(by, "domain.set", name) as connection:
            old, created_at_ms = _require_domain(connection, name)
            new = _normal(change(old))
            if new.name != old.name:
                raise DirectoryError("a domain keeps its name; add the new one and remove the old")
            _require_customer(connection, new.customer)
            _delete_domain(connection, name)
            _refuse_served_names(connection, new)
            _write_domain(connection, new, created_at_ms)
        return self._published()

    def remove_domain(self, name: str, *, by: str) -> Generation:
        """Serve a domain no longer.

        Raises:
            DirectoryError: it is not served.
        """
        name = _normal_name(name)
        with self._changing(by, "domain.remove", name) as connection:
            _require_domain(connection, name)
            _delete_domain(connection, name)
        return self._published()

    @contextmanager
    def _changing(
        self, by: str, what: str, subject: str, customer: str = ""
    ) -> Iterator[Connection]:
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            yield connection
            detail = {"domains": len(_domains(connection))}
            write_audit(connection, now_ms, by, what, subject, customer=customer, detail=detail)
            self._add_generation(connection, by)

    def _published(self) -> Generation:
        generation = self.generation()
        generations.publish(self._snapshots, generation)
        return generation

    def _publish_if_missing(self) -> None:
        generation = self.generation()
        standing = generations.numbers(self._snapshots)
        if generation.number == 0 and any(standing):
            raise DirectoryError(
                f"the directory database is new and empty, while {self._snapshots} still serves "
                f"generation {standing[-1]}; bring the database back with: schwamm restore FILE"
            )
        if _loaded(self._snapshots) == generation:
            return
        if _loaded(self._snapshots, generation.number) not in {None, generation}:
            # An older database was brought back: what its number once meant, it keeps meaning.
            with self._database.write() as connection:
                self._add_generation(connection, "restore")
            generation = self.generation()
        generations.publish(self._snapshots, generation)

    def _publish_people(self) -> None:
        identities.publish(self._snapshots, self.people.identities())

    def _add_generation(self, connection: Connection, by: str) -> None:
        newest = connection.execute(select(func.max(config_generation.c.number))).scalar() or 0
        number = max(newest, *generations.numbers(self._snapshots), 0) + 1
        row = {"number": number, "created_at_ms": self._clock.now_ms(), "person": by}
        connection.execute(insert(config_generation), row)


def _loaded(snapshots: Path, number: int | None = None) -> Generation | None:
    """A snapshot, or the one in force; None when there is none to serve from."""
    try:
        if number is None:
            return generations.load_current(snapshots)
        return generations.load(snapshots, number)
    except ConfigError:
        return None


def _generation(connection: Connection) -> Generation:
    query = select(config_generation.c.number, config_generation.c.created_at_ms)
    newest = connection.execute(query.order_by(config_generation.c.number.desc()).limit(1))
    row = newest.one_or_none()
    return Generation(
        number=0 if row is None else row.number,
        created_at_ms=0 if row is None else row.created_at_ms,
        domains=_domains(connection),
    )


def _domains(connection: Connection) -> tuple[Domain, ...]:
    aliases: dict[str, list[str]] = {}
    for alias, name in connection.execute(
        select(domain_alias.c.alias, domain_alias.c.domain).order_by(domain_alias.c.alias)
    ):
        aliases.setdefault(name, []).append(alias)
    hops: dict[str, list[str]] = {}
    for name, target in connection.execute(
        select(next_hop.c.domain, next_hop.c.target).order_by(
            next_hop.c.domain, next_hop.c.position
        )
    ):
        hops.setdefault(name, []).append(target)
    return tuple(
        Domain(
            name=row.name,
            customer=row.customer_id,
            aliases=tuple(aliases.get(row.name, ())),
            next_hops=tuple(
                codec.next_hop_from_json(codec.parse(hop)) for hop in hops.get(row.name, ())
            ),
            on_outage=OnOutage(row.on_outage),
            reject=bool(row.reject),
            unsure_score=row.unsure_score,
            spam_score=row.spam_score,
            reject_score=row.reject_score,
            retention_days=row.retention_days,
            subject_tag=row.subject_tag,
            recipients=parse_recipient_rules(row.recipients),
            queue_hours=row.queue_hours,
        )
        for row in connection.execute(select(domain).order_by(domain.c.name))
    )


def _normal(given: Domain) -> Domain:
    """Names in their normal form; alias order does not matter.

    Raises:
        DirectoryError: a name is malformed, or the scores make no sense.
    """
    if not given.next_hops:
        raise DirectoryError(f"domain {given.name!r} needs a next hop, e.g. mail.example.org:25")
    if not given.unsure_score <= given.spam_score <= given.reject_score:
        raise DirectoryError("scores must rise: unsure, then spam, then reject")
    if not 1 <= given.retention_days <= 3650:
        raise DirectoryError("retention is between 1 and 3650 days")
    if not 0 <= given.queue_hours <= LONGEST_QUEUE_H:
        raise DirectoryError(f"mail waits in the queue up to {LONGEST_QUEUE_H} hours")
    name = _normal_name(given.name)
    aliases = {_normal_name(alias) for alias in given.aliases} - {name}
    return replace(
        given, name=name, customer=given.customer or name, aliases=tuple(sorted(aliases))
    )


def _normal_name(name: str) -> str:
    try:
        return normal_domain(name.strip())
    except AddressError as error:
        raise DirectoryError(f"domain {name!r}: {error}") from error


def _customer_exists(connection: Connection, customer_id: str) -> bool:
    query = select(customer.c.id).where(customer.c.id == customer_id)
    return connection.execute(query).scalar() is not None


def _require_customer(connection: Connection, customer_id: str) -> None:
    if not _customer_exists(connection, customer_id):
        known = connection.execute(select(customer.c.id)).scalars().all()
        raise DirectoryError(f"there is no customer {customer_id!r}{_nearest(customer_id, known)}")


def _require_domain(connection: Connection, name: str) -> tuple[Domain, int]:
    domains = {one.name: one for one in _domains(connection)}
    if name not in domains:
        raise DirectoryError(f"domain {name!r} is not served{_nearest(name, list(domains))}")
    query = select(domain.c.created_at_ms).where(domain.c.name == name)
    return domains[name], connection.execute(query).scalar_one()


def _refuse_served_names(connection: Connection, new: Domain) -> None:
    owners = {one.name: one.name for one in _domains(connection)}
    for one in _domains(connection):
        owners.update(dict.fromkeys(one.aliases, one.name))
    for name in (new.name, *new.aliases):
        if name in owners:
            raise DirectoryError(f"{name!r} is served already, by domain {owners[name]!r}")


def _write_domain(connection: Connection, new: Domain, created_at_ms: int) -> None:
    row = {
        "name": new.name,
        "customer_id": new.customer,
        "on_outage": new.on_outage.value,
        "reject": int(new.reject),
        "unsure_score": new.unsure_score,
        "spam_score": new.spam_score,
        "reject_score": new.reject_score,
        "retention_days": new.retention_days,
        "subject_tag": new.subject_tag,
        "recipients": str(new.recipients),
        "queue_hours": new.queue_hours,
        "created_at_ms": created_at_ms,
    }
    connection.execute(insert(domain), row)
    for alias in new.aliases:
        connection.execute(insert(domain_alias), {"alias": alias, "domain": new.name})
    for position, hop in enumerate(new.next_hops):
        target = codec.dump(codec.next_hop_to_json(hop))
        row = {"domain": new.name, "position": position, "target": target}
        connection.execute(insert(next_hop), row)


def _delete_domain(connection: Connection, name: str) -> None:
    connection.execute(delete(domain_alias).where(domain_alias.c.domain == name))
    connection.execute(delete(next_hop).where(next_hop.c.domain == name))
    connection.execute(delete(domain).where(domain.c.name == name))


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
