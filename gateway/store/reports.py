"""Which reports to senders the journals speak of."""

from sqlalchemy import select

from gateway.core.errors import RecordFormatError
from gateway.core.record import What
from gateway.store import codec
from gateway.store.engine import Database
from gateway.store.schema import event, message

_DELAYED = "delayed"  # RFC 3464 §2.3.3


class Reports:
    """Reads the index. Calls block for the database.

    Raises:
        IndexUnavailableError: from every method, when the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_delay(self, mail_id: str) -> dict[str, str]:
        """Recipients of a message of whose delay its sender is told, each with the report's id.

        The first note of a recipient counts.
        """
        query = select(event.c.recipient, event.c.detail)
        query = query.where(event.c.mail_id == mail_id, event.c.what == What.REPORT)
        order = (event.c.at_ms, event.c.file, event.c.offset)
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for recipient, text in connection.execute(query.order_by(*order)):
                try:
                    detail = codec.parse(text)
                except RecordFormatError:
                    continue
                if isinstance(detail, dict) and detail.get("kind") == _DELAYED:
                    found.setdefault(recipient, str(detail.get("report")))
        return found

    def has_message(self, mail_id: str) -> bool:
        """Whether the index has a row of this message."""
        with self._database.read() as connection:
            query = select(message.c.id).where(message.c.id == mail_id)
            return connection.execute(query).first() is not None
