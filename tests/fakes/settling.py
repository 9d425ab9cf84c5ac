"""When nothing is under way any more, told by what is on disk instead of by waiting a while."""

from collections import Counter
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from gateway.store.journal_reading import journal_names, lines_from
from gateway.store.records import FileRecords
from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import Copies, number_of

OURS = ("held", "queued", "released")
WAITING = ("queued", "released")


def copies(gateway: Gateway, *states: str) -> list[tuple[str, str]]:
    """Id and recipient of every copy in one of these states, as the index has them."""
    found = asked(gateway, "select mail_id, recipient, state from copy")
    return [(mail_id, recipient) for mail_id, recipient, state in found if state in states]


def asked(gateway: Gateway, query: str) -> list[tuple]:
    """What the index on disk, or on the server, answers."""
    file = f"sqlite:///file:{gateway.state / 'index.db'}?mode=ro&uri=true&timeout=20"
    url = gateway.environment.get("SCHWAMM_INDEX__URL", file)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]
    finally:
        engine.dispose()


def settle(gateway: Gateway, patience_s: float = 90.0) -> None:
    """Wait until every journal line and every record is in the index and no copy waits.

    An empty queue alone proves nothing: what was just answered may be on its way into the index,
    and a record that a killed worker left without a line is found by the keeper within 30 seconds.
    """

    def settled() -> bool:
        before = journal_ends(gateway.state / "journal")
        if not knows_all(gateway) or not knows_records(gateway) or copies(gateway, *WAITING):
            return False
        return journal_ends(gateway.state / "journal") == before

    wait_until(settled, "an index that knows all, and an empty queue", patience_s)


def knows_all(gateway: Gateway) -> bool:
    """Whether every line that is in a journal now is in the index."""
    ends = journal_ends(gateway.state / "journal")
    try:
        known = dict(asked(gateway, 'select file, "offset" from journal_offset'))
    except DBAPIError:
        return False  # not there, or a new one is just being put in place
    return all(known.get(name, 0) >= end for name, end in ends.items())


def knows_records(gateway: Gateway) -> bool:
    """Whether every record that is on disk now has its row in the index."""
    records = FileRecords(gateway.state / "records", gateway.state / "tmp")
    try:
        kept = set(records.ids())
    finally:
        records.close()
    return kept <= {mail_id for (mail_id,) in asked(gateway, "select id from message")}


def journal_ends(journal: Path) -> dict[str, int]:
    """How far each journal file has whole lines, in octets; a killed process leaves torn ones."""
    ends = {}
    for name in journal_names(journal):
        ends[name] = max((end for *_, end in lines_from(journal / name, 0)), default=0)
    return ends


def ours(gateway: Gateway) -> Copies:
    """Every copy that is kept here, told by the bytes of its record, which are verified."""
    records = FileRecords(gateway.state / "records", gateway.state / "tmp")
    found: Copies = Counter()
    try:
        for mail_id, recipient in copies(gateway, *OURS):
            records.verify(mail_id)
            found[number_of(bytes(records.content(mail_id))), recipient] += 1
    finally:
        records.close()
    return found
