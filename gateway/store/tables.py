"""A table set: tables that are versioned and migrated together."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, MetaData, String, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSet:
    """One of ours: the index, or the directory.

    ``current`` is the number of the newest file in ``versions``. ``mend`` says what to do when the
    database cannot be used.
    """

    name: str
    metadata: MetaData
    versions: Path
    current: int
    mend: str

    @property
    def version_table(self) -> str:
        """Where a database says which version of this set it holds; Alembic keeps it too."""
        return f"{self.name}_version"

    def version_rows(self) -> Table:
        """That table, described apart from the set: Alembic makes and changes it."""
        return Table(
            self.version_table, MetaData(), Column("version_num", String(32), primary_key=True)
        )
