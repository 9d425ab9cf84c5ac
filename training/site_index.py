"""The index of this site, as training reads it: labels, and what models said of past mail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gateway.settings import Settings
from gateway.store.index import Index
from gateway.store.lock import WriterLock
from gateway.store.records import FileRecords


@contextlib.contextmanager
def site_index(settings: Settings) -> Iterator[Index]:
    """Open the index; when no keeper runs, bring in what the journals have beyond it.

    Raises:
        IndexUnavailableError: locked, corrupt or newer, with the mend.
    """
    state = settings.paths.state
    state.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        lock = WriterLock.try_acquire(state / "index.lock")
        if lock is not None:
            closing.enter_context(lock)
        index = Index.open(settings.index_url, node=settings.node.name)
        closing.callback(index.close)
        if lock is not None:
            index.ingest(state / "journal")
            with contextlib.closing(FileRecords(state / "records", state / "tmp")) as records:
                index.adopt(records)
        yield index
