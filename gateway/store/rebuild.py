"""``schwamm reindex``: the index made anew from records and journals, and put in place at once.

For SQLite it is built in a file beside the old one. Into an old index that still works it is then
copied in one transaction, so that readers see either all of the old rows or all of the new ones;
one that is corrupt is replaced. PostgreSQL does all of it in one transaction.
"""

import contextlib
import sqlite3
from pathlib import Path

from sqlalchemy import make_url

from gateway.core.errors import IndexUnavailableError, StorageError
from gateway.store.files import OsFileLayer
from gateway.store.index import Index, IngestReport, Progress, RecordSource

_PATIENCE = 20  # quarter seconds that a reader may keep us waiting
_COMPANIONS = ("", "-wal", "-shm", "-journal")


def rebuild(
    url: str, *, node: str, records: RecordSource, journal: Path, progress: Progress | None = None
) -> IngestReport:
    """Make the index of this node anew. The caller holds the writer lock.

    Raises:
        IndexUnavailableError: the database cannot be used; the old index stays.
        StorageError: a journal cannot be read, or there is no room.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        with contextlib.closing(Index.open(url, node=node)) as index:
            return index.fill(records, journal, progress=progress)
    path = Path(parsed.database)
    fresh = path.with_name(f"{path.name}.new")
    _remove(fresh)
    try:
        with contextlib.closing(Index.open(f"sqlite:///{fresh}", node=node)) as index:
            report = index.fill(records, journal, progress=progress)
        _put_in_place(fresh, path)
    finally:
        _remove(fresh)
    return report


def _put_in_place(fresh: Path, path: Path) -> None:
    if path.exists() and _copied_into(fresh, path):
        return
    # Nothing can have this file open and work with it: it and its log go, then the new one comes.
    layer = OsFileLayer()
    try:
        _remove(path)
        layer.rename(fresh, path)
        layer.sync_directory(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: {error}") from error


def _copied_into(fresh: Path, path: Path) -> bool:
    waited = 0

    def count(_status: int, _remaining: int, _total: int) -> None:
        nonlocal waited
        waited += 1
        if waited > _PATIENCE:
            raise TimeoutError

    try:
        with (
            contextlib.closing(sqlite3.connect(fresh)) as source,
            contextlib.closing(sqlite3.connect(path, timeout=0.25)) as target,
        ):
            source.backup(target, pages=-1, progress=count)
            target.execute("PRAGMA journal_mode=WAL")
    except TimeoutError as error:
        raise IndexUnavailableError(
            f"the index {path} is locked by another process; try again later"
        ) from error
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "full" in str(error):
            raise IndexUnavailableError(f"the index {path} cannot be replaced: {error}") from error
        return False
    except sqlite3.DatabaseError:
        return False
    return True


def _remove(path: Path) -> None:
    for suffix in _COMPANIONS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
