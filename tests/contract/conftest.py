"""The same tests on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.index import Index
from tests.fakes.postgresql import PostgresqlServer, postgresql

NODE = "n1"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    with postgresql() as server:
        yield server


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'index.db'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    with server.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """For what only concerns a file."""
    return f"sqlite:///{tmp_path / 'index.db'}"


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """For what only concerns a server; its tests carry the marker."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture
def index(database_url: str) -> Iterator[Index]:
    one = Index.open(database_url, node=NODE, busy_timeout_s=20)
    yield one
    one.close()
