"""People, their passwords and their rights; every change is written to the audit."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from secrets import token_urlsafe

import argon2
from sqlalchemy import Connection, insert, select, update

from gateway.core.clock import Clock
from gateway.core.identities import Identities, Identity, Scopes
from gateway.store.auditing import write_audit
from gateway.store.directory_schema import grant, identity, person
from gateway.store.engine import Database
from gateway.store.errors import DirectoryError

_SHORTEST = 8
_LONGEST = 1024  # characters; hashing more is work a stranger could order
_PASSWORD = "password"  # noqa: S105  the kind of an identity
_HASHING = threading.Semaphore(2)  # each takes 64 MiB


class Role(StrEnum):
    """What a person may do within a scope."""

    ADMIN = "admin"  # everything
    MANAGER = "manager"  # a customer's office manager: review, lists, people of the customer
    USER = "user"  # one's own mail


class ScopeKind(StrEnum):
    """How far a right reaches."""

    ALL = "all"
    CUSTOMER = "customer"
    DOMAIN = "domain"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One right of one person; ``scope`` is a customer's id, a domain or an address key."""

    role: Role
    scope_kind: ScopeKind = ScopeKind.ALL
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may log in."""

    login: str
    name: str
    language: str
    disabled: bool
    grants: tuple[Grant, ...]


class People:
    """Who may log in and what they may do. Calls block for the database and for hashing.

    ``on_change`` is called after every change, to write the snapshot that workers read.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        hasher: argon2.PasswordHasher,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_change = on_change
        self._database = database
        self._clock = clock
        self._hasher = hasher

    @cached_property
    def _nobody(self) -> str:
        """What a login that does not exist is compared with."""
        with _HASHING:
            return self._hasher.hash(token_urlsafe())

    def add(
        self,
        login: str,
        password: str,
        grants: tuple[Grant, ...],
        *,
        by: str,
        name: str = "",
        language: str = "de",
    ) -> Person:
        """Take in a person.

        Raises:
            DirectoryError: the login is empty or taken, or the password too short or too long.
            IndexUnavailableError: the database cannot be used.
        """
        key = _login_key(login)
        secret = self._hash(password)
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            if _stored(connection, key) is not None:
                raise DirectoryError(f"there is a person {key!r} already")
            row = {"login": key, "name": name, "language": language, "disabled": 0}
            connection.execute(insert(person), {**row, "created_at_ms": now_ms})
            _put_secret(connection, key, secret, now_ms)
            for right in grants:
                connection.execute(insert(grant), {"login": key, **_grant_row(right)})
            rights = [_grant_row(right) for right in grants]
            write_audit(connection, now_ms, by, "person.add", key, detail={"grants": rights})
        self._on_change()
        return Person(login=key, name=name, language=language, disabled=False, grants=grants)

    def set_password(self, login: str, password: str, *, by: str) -> None:
        """Give a person a new password.

        Raises:
            DirectoryError: there is no such person, or the password is too short or too long.
            IndexUnavailableError: the database cannot be used.
        """
        key = _login_key(login)
        secret = self._hash(password)
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            if _stored(connection, key) is None:
                raise DirectoryError(f"there is no person {key!r}")
            _put_secret(connection, key, secret, now_ms)
            write_audit(connection, now_ms, by, "person.password", key)
        self._on_change()

    def verify(self, login: str, password: str) -> Person | None:
        """The person, if the password is right and the person not disabled.

        A login that does not exist takes as long as a wrong password.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        key = login.strip().casefold()[:320]
        with self._database.read() as connection:
            found = _stored(connection, key)
            query = select(identity.c.secret).where(identity.c.login == key)
            secret = connection.execute(query.where(identity.c.kind == _PASSWORD)).scalar()
        right = self._matches(secret or self._nobody, password)
        if not right or secret is None or found is None or found.disabled:
            return None
        return found

    def get(self, login: str) -> Person | None:
        """One person, None when there is none of this login.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        with self._database.read() as connection:
            return _stored(connection, login.strip().casefold())

    def all(self) -> tuple[Person, ...]:
        """Everybody, by login.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        with self._database.read() as connection:
            logins = connection.execute(select(person.c.login).order_by(person.c.login)).scalars()
            people = (_stored(connection, login) for login in logins.all())
            return tuple(one for one in people if one is not None)

    def identities(self) -> Identities:
        """Everybody who may log in with a password now.

        Raises:
            IndexUnavailableError: the database cannot be used.
        """
        with self._database.read() as connection:
            query = select(identity.c.login, identity.c.secret).where(identity.c.kind == _PASSWORD)
            secrets = connection.execute(query.order_by(identity.c.login)).all()
            people = ((_stored(connection, row.login), row.secret) for row in secrets)
            return Identities(
                tuple(
                    Identity(login=one.login, secret=secret, scopes=_scopes(one.grants))
                    for one, secret in people
                    if one is not None and not one.disabled
                )
            )

    def disable(self, login: str, *, by: str, disabled: bool = True) -> None:
        """Shut a person out, or let them in again.

        Raises:
            DirectoryError: there is no such person.
            IndexUnavailableError: the database cannot be used.
        """
        key = _login_key(login)
        with self._database.write() as connection:
            change = update(person).where(person.c.login == key).values(disabled=int(disabled))
            if connection.execute(change).rowcount == 0:
                raise DirectoryError(f"there is no person {key!r}")
            what = "person.disable" if disabled else "person.enable"
            write_audit(connection, self._clock.now_ms(), by, what, key)
        self._on_change()

    def _hash(self, password: str) -> str:
        if not _SHORTEST <= len(password) <= _LONGEST:
            raise DirectoryError(f"a password has {_SHORTEST} to {_LONGEST} characters")
        with _HASHING:
            return self._hasher.hash(password)

    def _matches(self, secret: str, password: str) -> bool:
        with _HASHING, contextlib.suppress(argon2.exceptions.VerificationError):
            return self._hasher.verify(secret, password[:_LONGEST])
        return False


def _scopes(grants: tuple[Grant, ...]) -> Scopes:
    def named(kind: ScopeKind) -> frozenset[str]:
        return frozenset(one.scope for one in grants if one.scope_kind is kind)

    return Scopes(
        everywhere=any(one.scope_kind is ScopeKind.ALL for one in grants),
        customers=named(ScopeKind.CUSTOMER),
        domains=named(ScopeKind.DOMAIN),
        addresses=named(ScopeKind.ADDRESS),
    )


def _login_key(login: str) -> str:
    key = login.strip().casefold()
    if not key or len(key) > 320 or any(not letter.isprintable() for letter in key):
        raise DirectoryError("a login is a short name or a mail address")
    return key


def _stored(connection: Connection, key: str) -> Person | None:
    row = connection.execute(select(person).where(person.c.login == key)).one_or_none()
    if row is None:
        return None
    rights = select(grant.c.role, grant.c.scope_kind, grant.c.scope).where(grant.c.login == key)
    rights = rights.order_by(grant.c.role, grant.c.scope_kind, grant.c.scope)
    return Person(
        login=row.login,
        name=row.name,
        language=row.language,
        disabled=bool(row.disabled),
        grants=tuple(
            Grant(role=Role(role), scope_kind=ScopeKind(kind), scope=scope)
            for role, kind, scope in connection.execute(rights)
        ),
    )


def _put_secret(connection: Connection, key: str, secret: str, now_ms: int) -> None:
    here = (identity.c.login == key, identity.c.kind == _PASSWORD)
    change = update(identity).where(*here).values(secret=secret, changed_at_ms=now_ms)
    if connection.execute(change).rowcount == 0:
        row = {"login": key, "kind": _PASSWORD, "secret": secret, "changed_at_ms": now_ms}
        connection.execute(insert(identity), row)


def _grant_row(right: Grant) -> dict[str, str]:
    return {
        "role": right.role.value,
        "scope_kind": right.scope_kind.value,
        "scope": right.scope,
    }
