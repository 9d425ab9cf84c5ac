"""Put on PYTHONPATH by the crash tests: processes die by SIGKILL at named points.

The shipped code has no hooks; the points are wrapped around its functions when their module is
imported. A file ``POINT`` in the directory named by ``KILLPOINTS`` arms a point; its content is how
many passages go by unharmed. Whoever takes the file away dies, so an armed point kills once. A
point that cannot be attached (the code moved) is an error at once, never silently no kill.

Also noted, in the same directory: which copies the keeper has handed to a next hop without a
durable result yet, because only those may arrive twice when it dies (``handing_over``). And workers
take the next hop on port ``KILLPOINTS_OUTAGE`` for unreachable, so that what goes there is queued.
"""

# ruff: noqa: PTH103, PTH104, PTH110, PTH118, PTH123, PTH208, PLC0415

import functools
import inspect
import os
import signal
import threading

import attaching
import handing_over
from attaching import role

HERE = os.environ.get("KILLPOINTS", "")
OUTAGE_PORT = int(os.environ.get("KILLPOINTS_OUTAGE", "0"))
_passages: dict[str, tuple[int, int]] = {}
_lock = threading.Lock()


def passing(point: str, *, before_death=lambda: None) -> None:
    """Die here if the point is armed and this is its time."""
    path = os.path.join(HERE, f"{role()}:{point}")
    try:
        with open(path) as file:
            wanted, inode = int(file.read() or "0"), os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return
    with _lock:
        known, passed = _passages.get(path, (0, 0))
        passed = passed if known == inode else 0
        _passages[path] = (inode, passed + 1)
        if passed < wanted:
            return
        try:
            os.rename(path, f"{path}.fired-{os.getpid()}")
        except FileNotFoundError:
            return  # somebody else died here
        before_death()
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner, name: str, *, before: str = "", after: str = "", when=lambda *a, **k: True):
    """Attach points to a function or coroutine function."""
    inner = inspect.getattr_static(owner, name)
    assert callable(inner), f"{owner}.{name} cannot carry a kill point"

    def enter(a, k):
        if before and when(*a, **k):
            passing(before)

    def leave(a, k):
        if after and when(*a, **k):
            passing(after)

    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def outer(*a, **k):
            enter(a, k)
            result = await inner(*a, **k)
            leave(a, k)
            return result

    else:

        @functools.wraps(inner)
        def outer(*a, **k):
            enter(a, k)
            result = inner(*a, **k)
            leave(a, k)
            return result

    setattr(owner, name, outer)


def files(module) -> None:
    """Before and after each step that makes a record, and within a journal line."""
    layer = module.OsFileLayer

    def of_records(*_, **__):
        return threading.current_thread().name.startswith("records")

    def of_journal(*_, **__):
        return threading.current_thread().name.startswith("journal")

    write = layer.write

    def torn(self, descriptor, data):
        point = "record torn" if of_records() else "journal line torn"
        half = bytes(memoryview(data)[: len(data) // 2])
        passing(point, before_death=lambda: os.write(descriptor, half))
        return write(self, descriptor, data)

    layer.write = torn
    around(
        layer, "fsync", before="record before fsync", after="record after fsync", when=of_records
    )
    around(
        layer,
        "fsync",
        before="journal before fsync",
        after="journal after fsync",
        when=of_journal,
    )
    around(
        layer,
        "rename",
        before="record before rename",
        after="record after rename",
        when=of_records,
    )
    around(layer, "sync_directory", after="record durable", when=of_records)
    around(layer, "unlink", before="record before unlink", after="record after unlink")


def intake(module) -> None:
    around(module.Intake, "take", before="after DATA", after="answered, reply unsent")
    around(module.Intake, "_tell", before="before journal", after="journal written, no reply")


def relay(module) -> None:
    def mixed(self, facts, content, copies):
        return len(copies) < len(facts.envelope.rcpt_to)

    around(module.Relay, "hand_off", before="between hold and hand-over", when=mixed)
    around(module.Relay, "hand_off", after="handed over, nothing written")


def queue(module) -> None:
    around(module.Queue, "_make_durable", after="result durable, index unaware")
    around(
        module.Queue,
        "_attempt",
        before="claimed, not tried",
        after="result in the index",
    )


def smtp_client(module) -> None:
    connection = module.SmtpConnection
    around(connection, "_send_content", before="before content", after="final dot sent")
    connect = connection.connect.__func__

    async def unreachable(cls, hop, **rest):
        if role() == "worker" and hop.port == OUTAGE_PORT:
            return module.ConnectFault(text="unreachable, says the crash test")
        return await connect(cls, hop, **rest)

    connection.connect = classmethod(unreachable)


def outcome(module) -> None:
    around(module.Attempt, "answer_final", before="250 received, not processed")


def index(module) -> None:
    around(module, "apply", before="ingest begins", after="ingest before commit")
    around(module.Index, "ingest", after="ingest committed")
    around(module.Index, "_adopt", after="adopted before commit")


def rebuilding(module) -> None:
    around(module, "_put_in_place", before="reindex before swap", after="reindex after swap")
    around(module, "_copied_into", after="reindex within swap")


def versions(module) -> None:
    around(
        module,
        "_change",
        before="migration begins",
        after="migration before commit",
        when=lambda connection, tables: tables.name != "directory",
    )


MIGRATION = '''"""One column more."""

import sqlalchemy as sa
from alembic import op

revision = "{new}"
down_revision = "{old}"


def upgrade() -> None:
    op.add_column("message", sa.Column("mood", sa.Integer(), server_default="7", nullable=False))
'''


def schema(module) -> None:
    """The index's tables as the next release might have them, so that there is a migration."""
    from dataclasses import replace

    from sqlalchemy import Column, Integer

    folder = os.path.join(HERE, "migrations", "versions")
    current = module.INDEX.current
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(module.INDEX.versions):
        if name.endswith(".py"):
            with open(os.path.join(module.INDEX.versions, name)) as file:
                publish(os.path.join(folder, name), file.read())
    text = MIGRATION.format(old=f"{current:04d}", new=f"{current + 1:04d}")
    publish(os.path.join(folder, f"v{current + 1:04d}_mood.py"), text)
    column = Column("mood", Integer, server_default="7", nullable=False)
    module.INDEX.metadata.tables["message"].append_column(column)
    versions = type(module.INDEX.versions)(folder)
    module.INDEX = replace(module.INDEX, versions=versions, current=current + 1)


def publish(path: str, text: str) -> None:
    """Several processes start at once: none may see half a file."""
    if not os.path.exists(path):
        with open(f"{path}.{os.getpid()}", "w") as file:
            file.write(text)
        os.rename(f"{path}.{os.getpid()}", path)


def leases(module) -> None:
    around(module.Leases, "claim", before="before claim", after="claim committed")


def registry(module) -> None:
    # ``load`` is called by ``refresh`` when the pointer changed, and by ``promote`` before it does.
    around(module.Registry, "load", before="model swap begins", after="model mapped, not in use")
    around(module, "_sync_directory", before="model pointer replaced, not synced")


def review(module) -> None:
    around(module.Review, "_settle", before="release decided", after="release written")


def generations(module) -> None:
    around(module, "replace_file", before="publish begins", after="publish half done")


def keeping(module) -> None:
    module._HOUSEKEEPING_S = 1.0  # so that points in it are passed often


def supervising(module) -> None:
    module._LONGEST_PAUSE_S = 0.3  # a matrix kills more often than anything real dies
    around(module.Supervisor, "_start", before="before a child starts", after="child started")
    around(module.Supervisor, "_reap", before="supervising")
    around(module.Supervisor, "_note_end", before="child died, slot not read")
    around(module.Supervisor, "_reload", before="reload begins", after="reload done")
    around(module.Supervisor, "_drain", after="child told to drain")


ATTACHED = {
    "gateway.store.files": files,
    "gateway.smtp.intake": intake,
    "gateway.delivery.relay": relay,
    "gateway.delivery.queue": queue,
    "gateway.net.smtp_client": smtp_client,
    "gateway.net.smtp_client_outcome": outcome,
    "gateway.store.schema": schema,
    "gateway.store.index": index,
    "gateway.store.rebuild": rebuilding,
    "gateway.store.versions": versions,
    "gateway.store.leases": leases,
    "gateway.store.generations": generations,
    "gateway.quarantine.review": review,
    "gateway.app.keeper": keeping,
    "gateway.supervisor": supervising,
    "models.registry": registry,
}


if HERE:
    attaching.attach(handing_over.attachments(HERE), ATTACHED)
