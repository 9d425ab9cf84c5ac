"""Forward-only migrations, run by Alembic inside the transaction of the caller.

They only expand: old and new release run side by side while one drains, so a column is added with
a default, and never renamed or dropped.
"""

from typing import cast

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.store.tables import TableSet


def upgrade(connection: Connection, tables: TableSet) -> None:
    """Run what is missing, oldest first; all of it or none."""
    config = Config()
    config.set_main_option("script_location", str(tables.versions.parent))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    def missing(stored: object, _context: MigrationContext) -> list[RevisionStep]:
        # As Alembic's own documentation of EnvironmentContext does it.
        return script._upgrade_revs("head", cast("str", stored))

    with EnvironmentContext(config, script, fn=missing) as environment:
        environment.configure(
            connection=connection,
            target_metadata=tables.metadata,
            version_table=tables.version_table,
            transactional_ddl=True,
        )
        environment.run_migrations()
