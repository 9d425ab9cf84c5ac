"""Opening what lies in the state directory: index, records, journal, directory."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.clock import SystemClock
from gateway.core.errors import ConfigError
from gateway.locale import N_
from gateway.quarantine.review import Review, Reviewer
from gateway.settings import Settings
from gateway.store.features import find_features
from gateway.store.index import Index
from gateway.store.journal import Journal
from gateway.store.lock import WriterLock
from gateway.store.ownership import operator
from gateway.store.records import FileRecords

if TYPE_CHECKING:
    from gateway.store.directory import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenState:
    """The index and what it is an index of. ``keeper_runs``: somebody else keeps it up to date."""

    index: Index
    records: FileRecords
    journal_directory: Path
    keeper_runs: bool


@contextlib.contextmanager
def open_state(settings: Settings) -> Iterator[OpenState]:
    """The state, with an index that knows everything up to now.

    When no keeper runs, what the journals have beyond the index is brought in first.

    Raises:
        IndexUnavailableError: locked, corrupt or newer, with the mend.
    """
    state = settings.paths.state
    if not state.is_dir():
        raise ConfigError(
            N_("{path} does not exist yet; start the gateway once, or run schwamm init"),
            path=state,
        )
    lock = WriterLock.try_acquire(state / "index.lock")
    with contextlib.ExitStack() as closing:
        if lock is not None:
            closing.enter_context(lock)
        index = Index.open(settings.index_url, node=settings.node.name)
        closing.callback(index.close)
        records = FileRecords(state / "records", state / "tmp")
        closing.callback(records.close)
        if lock is not None:
            index.ingest(state / "journal")
            index.adopt(records)
        yield OpenState(
            index=index,
            records=records,
            journal_directory=state / "journal",
            keeper_runs=lock is None,
        )


@contextlib.contextmanager
def open_review(settings: Settings) -> Iterator[tuple[Review, OpenState]]:
    """The quarantine in the hands of whoever runs this command, an administrator."""
    clock = SystemClock()
    with open_state(settings) as state:
        journal = Journal(state.journal_directory, "cli", clock)
        try:
            review = Review(
                listings=state.index.listings,
                records=state.records,
                features=partial(find_features, settings.paths.state / "features"),
                journal=journal,
                clock=clock,
                reviewer=Reviewer(person=operator(), role="admin", source="cli"),
            )
            yield review, state
            if not state.keeper_runs:
                state.index.ingest(state.journal_directory)
        finally:
            journal.close()


@contextlib.contextmanager
def open_directory(settings: Settings) -> Iterator["Directory"]:
    """Customers, domains and people."""
    from gateway.store.directory import Directory  # noqa: PLC0415  Alembic and argon2 come with it

    state = settings.paths.state
    state.mkdir(parents=True, exist_ok=True)
    directory = Directory.open(
        settings.directory_url, snapshots=state / "generations", clock=SystemClock()
    )
    try:
        yield directory
    finally:
        directory.close()
