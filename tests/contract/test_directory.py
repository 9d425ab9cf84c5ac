"""Customers, domains and people: every change audited and served, wrong ones refused whole."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import argon2
import pytest
from sqlalchemy import text

from gateway.core.errors import ConfigError, IndexUnavailableError, StorageError
from gateway.core.identities import Scopes
from gateway.core.routing import Domain, OnOutage, parse_next_hop
from gateway.store import generations, identities
from gateway.store.directory import Customer, Directory
from gateway.store.errors import DirectoryError
from gateway.store.people import Grant, Role, ScopeKind
from tests.contract.samples import FakeClock

HOPS = (parse_next_hop("mail.example.org:25"), parse_next_hop("lmtp:[::1]:24"))


CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    return tmp_path / "generations"


@pytest.fixture
def directory(database_url: str, snapshots: Path) -> Iterator[Directory]:
    one = Directory.open(database_url, snapshots=snapshots, clock=FakeClock(), hasher=CHEAP)
    yield one
    one.close()


def domain(name: str = "example.org", **more: object) -> Domain:
    return Domain(name=name, next_hops=HOPS, customer="acme", **more)  # type: ignore[arg-type]


@pytest.fixture
def acme(directory: Directory) -> Directory:
    directory.add_customer(Customer(id="acme", name="Acme GmbH"), by="root")
    return directory


def test_an_empty_directory_serves_nobody(directory: Directory, snapshots: Path) -> None:
    assert generations.load_current(snapshots).domains == ()
    assert directory.generation().number == 0


def test_a_new_domain_is_served_as_it_was_given(acme: Directory, snapshots: Path) -> None:
    given = domain(
        "Bücher.Example.",
        aliases=("WWW.example.org", "b.example"),
        on_outage=OnOutage.DEFER,
        reject=True,
        unsure_score=3.5,
        spam_score=5.5,
        reject_score=12.25,
        retention_days=30,
        queue_hours=48,
        subject_tag="[Spam?]",
    )
    generation = acme.add_domain(given, by="root")
    kept = replace(given, name="xn--bcher-kva.example", aliases=("b.example", "www.example.org"))
    assert generation.domains == (kept,)
    assert generations.load_current(snapshots) == generation
    assert generation.domain("www.example.org") == kept
    assert acme.domains() == (kept,)


def test_every_change_is_audited_and_numbered(acme: Directory, snapshots: Path) -> None:
    acme.add_domain(domain(), by="anna")
    acme.set_domain("EXAMPLE.org", lambda old: replace(old, reject=True), by="bert")
    acme.remove_domain("example.org", by="cem")
    acme.remove_customer("acme", by="dora")
    told = [(row.person, row.what, row.subject) for row in acme.audit()]
    assert told == [
        ("dora", "customer.remove", "acme"),
        ("cem", "domain.remove", "example.org"),
        ("bert", "domain.set", "example.org"),
        ("anna", "domain.add", "example.org"),
        ("root", "customer.add", "acme"),
    ]
    assert generations.numbers(snapshots) == [0, 1, 2, 3, 4, 5]
    assert generations.load(snapshots, 3).domains[0].reject is True
    assert generations.load(snapshots, 2).domains[0].reject is False
    assert generations.load_current(snapshots).domains == ()


def test_a_domain_without_customer_becomes_its_own(directory: Directory) -> None:
    generation = directory.add_domain(replace(domain(), customer=""), by="root")
    assert generation.domains[0].customer == "example.org"
    assert directory.customers() == (Customer(id="example.org", name="example.org"),)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            domain("other.example", aliases=("example.org",)),
            "served already, by domain 'example.org'",
        ),
        (domain("alias.example"), "served already, by domain 'example.org'"),
        (domain("EXAMPLE.ORG."), "served already"),
        (domain("not a domain"), "malformed"),
        (domain("x.example", aliases=("[192.0.2.1]",)), "literals"),
        (replace(domain("x.example"), customer="acne"), "did you mean 'acme'"),
        (replace(domain("x.example"), next_hops=()), "needs a next hop"),
        (replace(domain("x.example"), spam_score=2.0), "must rise"),
        (replace(domain("x.example"), spam_score=float("nan")), "must rise"),
        (replace(domain("x.example"), retention_days=0), "retention"),
        (replace(domain("x.example"), queue_hours=721), "hours"),
    ],
)
def test_a_wrong_domain_changes_nothing(
    acme: Directory, snapshots: Path, wrong: Domain, reason: str
) -> None:
    acme.add_domain(domain(aliases=("alias.example",)), by="root")
    before = acme.generation(), acme.audit(), generations.numbers(snapshots)
    with pytest.raises(DirectoryError, match=reason):
        acme.add_domain(wrong, by="root")
    with pytest.raises(DirectoryError):
        acme.set_domain("example.org", lambda _old: replace(wrong, name="q.example"), by="root")
    assert (acme.generation(), acme.audit(), generations.numbers(snapshots)) == before


def test_a_domain_may_keep_or_swap_its_aliases(acme: Directory) -> None:
    acme.add_domain(domain(aliases=("a.example", "b.example")), by="root")
    changed = acme.set_domain(
        "example.org", lambda old: replace(old, aliases=("b.example", "c.example")), by="root"
    )
    assert changed.domains[0].aliases == ("b.example", "c.example")
    assert changed.domain("a.example") is None


def test_what_is_not_there_is_said(acme: Directory) -> None:
    acme.add_domain(domain(), by="root")
    with pytest.raises(DirectoryError, match=r"not served; did you mean 'example\.org'"):
        acme.remove_domain("exampel.org", by="root")
    with pytest.raises(DirectoryError, match="no customer 'x'"):
        acme.remove_customer("x", by="root")
    with pytest.raises(DirectoryError, match=r"has domains: example\.org"):
        acme.remove_customer("acme", by="root")
    with pytest.raises(DirectoryError, match="already"):
        acme.add_customer(Customer(id="acme", name="again"), by="root")
    with pytest.raises(DirectoryError, match="short word"):
        acme.add_customer(Customer(id="", name="nobody"), by="root")


@pytest.mark.parametrize("damage", ["current", "1.json", "both", "garbage"])
def test_opening_mends_the_snapshot(
    database_url: str, acme: Directory, snapshots: Path, damage: str
) -> None:
    if damage in {"current", "both"}:
        (snapshots / "current").unlink()
    if damage in {"1.json", "both"}:
        (snapshots / "1.json").unlink()
    if damage == "garbage":
        (snapshots / "1.json").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError):
        generations.load_current(snapshots)
    Directory.open(database_url, snapshots=snapshots, clock=FakeClock()).close()
    assert generations.load_current(snapshots) == acme.generation()


def test_an_empty_database_never_stops_serving(
    tmp_path: Path, acme: Directory, snapshots: Path
) -> None:
    """Somebody removed directory.db: refusing everybody's mail for good is not the answer."""
    acme.add_domain(domain(), by="root")
    with pytest.raises(DirectoryError, match="generation 2; bring the database back"):
        Directory.open(f"sqlite:///{tmp_path / 'empty.db'}", snapshots=snapshots, clock=FakeClock())
    assert generations.load_current(snapshots).domains[0].name == "example.org"


def test_an_older_database_that_was_brought_back_is_served_under_a_new_number(
    database_url: str, acme: Directory, snapshots: Path
) -> None:
    acme.add_domain(domain(), by="root")
    with acme._database.write() as connection:  # the backup was made when nobody was served yet
        for table in ("next_hop", "domain_alias", "domain"):
            connection.execute(text(f"DELETE FROM {table}"))
    clock = FakeClock()
    restored = Directory.open(database_url, snapshots=snapshots, clock=clock)
    assert generations.load_current(snapshots).number == 3
    assert generations.load_current(snapshots).domains == ()
    assert generations.load(snapshots, 2).domains[0].name == "example.org"
    with acme._database.write() as connection:
        connection.execute(text("DELETE FROM config_generation WHERE number > 1"))
    restored.add_domain(domain(), by="root")
    assert generations.load_current(snapshots).number == 4
    restored.close()


def test_a_snapshot_that_cannot_be_written_is_said_and_made_up_for(
    database_url: str, acme: Directory, snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no room")

    with monkeypatch.context() as broken:
        broken.setattr("gateway.store.generations.publish", full)
        with pytest.raises(StorageError):
            acme.add_domain(domain(), by="root")
    assert generations.load_current(snapshots).number == 1  # the old one still serves
    Directory.open(database_url, snapshots=snapshots, clock=FakeClock()).close()
    assert generations.load_current(snapshots).domains[0].name == "example.org"


def test_a_password_opens_for_its_person_only(directory: Directory) -> None:
    people = directory.people
    rights = (
        Grant(role=Role.ADMIN),
        Grant(role=Role.MANAGER, scope_kind=ScopeKind.CUSTOMER, scope="acme"),
    )
    people.add("Anna@Example.org", "correct horse", rights, by="root", name="Anna", language="en")
    anna = people.verify(" anna@example.ORG ", "correct horse")
    assert anna is not None
    assert (anna.login, anna.name, anna.language) == ("anna@example.org", "Anna", "en")
    assert set(anna.grants) == set(rights)
    assert people.verify("anna@example.org", "correct horsE") is None
    assert people.verify("bert@example.org", "correct horse") is None
    assert people.verify("bert@example.org", "nobody has this password") is None
    assert people.verify("anna@example.org", "") is None
    assert people.verify("anna@example.org", "x" * 100_000) is None
    people.set_password("anna@example.org", "another one", by="root")
    assert people.verify("anna@example.org", "correct horse") is None
    assert people.verify("anna@example.org", "another one") == anna
    people.disable("anna@example.org", by="root")
    assert people.verify("anna@example.org", "another one") is None
    people.disable("anna@example.org", by="root", disabled=False)
    assert people.all() == (anna,)
    assert [row.what for row in directory.audit()] == [
        "person.enable", "person.disable", "person.password", "person.add",
    ]  # fmt: skip


def test_passwords_are_kept_as_argon2_hashes_and_never_audited(
    database_url: str, snapshots: Path
) -> None:
    directory = Directory.open(database_url, snapshots=snapshots, clock=FakeClock())
    directory.people.add("anna", "correct horse", (), by="root")
    with directory._database.read() as connection:
        secret = connection.execute(text("SELECT secret FROM identity")).scalar_one()
        audit = str(connection.execute(text("SELECT * FROM audit")).all())
    assert secret.startswith("$argon2id$v=19$m=65536,")
    assert "correct horse" not in secret + audit
    assert secret not in audit
    directory.close()


def test_people_that_cannot_be_are_refused(directory: Directory) -> None:
    people = directory.people
    people.add("anna", "correct horse", (), by="root")
    for login in ("", "  ", "a\nb", "x" * 400):
        with pytest.raises(DirectoryError, match="login"):
            people.add(login, "correct horse", (), by="root")
    with pytest.raises(DirectoryError, match="already"):
        people.add("ANNA", "correct horse", (), by="root")
    for password in ("short", "x" * 1025):
        with pytest.raises(DirectoryError, match="8 to 1024"):
            people.add("bert", password, (), by="root")
    for act in (
        lambda: people.set_password("bert", "correct horse", by="root"),
        lambda: people.disable("bert", by="root"),
    ):
        with pytest.raises(DirectoryError, match="no person"):
            act()
    assert people.get("bert") is None
    assert len(directory.audit()) == 1


def test_a_newer_directory_is_refused(database_url: str, acme: Directory, snapshots: Path) -> None:
    with acme._database.write() as connection:
        connection.execute(text("UPDATE directory_version SET version_num = '0042'"))
    with pytest.raises(IndexUnavailableError, match="version 42, this release knows version 3"):
        Directory.open(database_url, snapshots=snapshots, clock=FakeClock())
    assert generations.load_current(snapshots).number == 1  # and mail is routed all the same


def test_workers_read_people_from_a_private_snapshot(directory: Directory, snapshots: Path) -> None:
    grants = (
        Grant(role=Role.USER, scope_kind=ScopeKind.ADDRESS, scope="anna@example.org"),
        Grant(role=Role.MANAGER, scope_kind=ScopeKind.CUSTOMER, scope="acme"),
    )
    directory.people.add("Anna@example.org", "password one", grants, by="test")
    first = identities.load(snapshots).get("anna@example.org")
    assert first is not None
    assert first.scopes == Scopes(
        customers=frozenset({"acme"}), addresses=frozenset({"anna@example.org"})
    )
    assert CHEAP.verify(first.secret, "password one")
    directory.people.set_password("anna@example.org", "password two", by="test")
    second = identities.load(snapshots).get("anna@example.org")
    assert second is not None
    assert CHEAP.verify(second.secret, "password two")
    assert first.secret not in (snapshots / identities.NAME).read_text()
    directory.people.disable("anna@example.org", by="test")
    assert identities.load(snapshots).people == ()
    directory.people.disable("anna@example.org", by="test", disabled=False)
    (snapshots / identities.NAME).unlink()
    assert identities.load(snapshots).people == ()


def test_a_missing_snapshot_of_people_is_written_when_the_directory_opens(
    directory: Directory, snapshots: Path, database_url: str
) -> None:
    directory.people.add("anna", "password one", (Grant(role=Role.ADMIN),), by="test")
    before = (snapshots / identities.NAME).read_bytes()
    (snapshots / identities.NAME).write_bytes(b"damaged")
    Directory.open(database_url, snapshots=snapshots, clock=FakeClock()).close()
    assert (snapshots / identities.NAME).read_bytes() == before
    assert (snapshots / identities.NAME).stat().st_mode & 0o777 == 0o600
