"""An upgrade under load, as deploy/README.md tells it: old and new release side by side.

The two releases are this code twice, the second with another version and one more column in the
index. A symbolic link says which one is installed.
"""

import asyncio
import json
import re
import shutil
import signal
import urllib.request
from pathlib import Path

from tests.fakes.gateway import Gateway, wait_until
from tests.fakes.ledger import Ledger, entries_from
from tests.fakes.settling import asked
from tests.fakes.sink import sink
from tests.fakes.smtp_client import RawClient
from tests.functional.test_survival import (
    ATTACHING,
    RECIPIENTS,
    account,
    in_thread,
    real_messages,
    tries_of,
)

MIGRATION = '''"""One column more."""

import sqlalchemy as sa
from alembic import op

revision = "{new:04d}"
down_revision = "{old:04d}"


def upgrade() -> None:
    op.add_column("message", sa.Column("mood", sa.Integer(), server_default="7", nullable=False))
'''
COLUMN = '    Column("mood", Integer, nullable=False, server_default="7"),\n'


def release(root: Path, where: Path, version: str) -> Path:
    """A copy of the code that calls itself so."""
    where.mkdir()
    shutil.copytree(
        root / "gateway", where / "gateway", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("models", "training"):
        (where / name).symlink_to(root / name)
    about = where / f"schwamm-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: schwamm\nVersion: {version}\n")
    return where


def with_another_column(code: Path) -> None:
    """What a migration of the next release may do: only add."""
    schema = code / "gateway" / "store" / "schema.py"
    text = schema.read_text()
    (current,) = map(int, re.findall(r"    current=(\d+),", text))
    text = text.replace(f"    current={current},", f"    current={current + 1},")
    before = '    Index("message_by_message_id"'
    assert before in text
    schema.write_text(text.replace(before, COLUMN + before))
    versions = code / "gateway" / "store" / "migrations" / "index" / "versions"
    (versions / f"v{current + 1:04d}_mood.py").write_text(
        MIGRATION.format(new=current + 1, old=current)
    )


def install(code: Path, current: Path) -> None:
    """The link leads there from one moment to the next."""
    fresh = current.with_name("fresh")
    fresh.symlink_to(code)
    fresh.rename(current)


def version_of(gateway: Gateway) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.web_port}/health", timeout=10) as said:
        return str(json.loads(said.read())["version"])


def has_column(gateway: Gateway) -> bool:
    return bool(asked(gateway, "select 1 from pragma_table_info('message') where name = 'mood'"))


async def within_data(client: RawClient, half: bytes) -> None:
    await client.reply()
    for command in ("EHLO client.example", "MAIL FROM:<>", "RCPT TO:<user0@trial.example>"):
        assert (await client.ask(command)).startswith("250")
    assert (await client.ask("DATA")).startswith("354")
    await client.send(half)


async def test_an_upgrade_under_load_loses_nothing(tmp_path: Path, root: Path) -> None:
    old = release(root, tmp_path / "old", "8.0.0")
    new = release(root, tmp_path / "new", "9.0.0")
    with_another_column(new)
    install(old, tmp_path / "current")
    (tmp_path / "state").mkdir()
    async with sink() as to:
        gateway = Gateway(tmp_path / "state", f"127.0.0.1:{to.port}", workers=2)
        gateway.environment |= {
            "PYTHONSAFEPATH": "1",  # not from the directory we are in
            "PYTHONPATH": f"{tmp_path / 'current'}:{ATTACHING}",
            "TRIES": str(tries_of(gateway)),
            "SCHWAMM_DELIVERY__FIRST_RETRY_S": "1",
        }
        tries_of(gateway).mkdir()
        await in_thread(gateway.init)
        await in_thread(gateway.start)
        try:
            await through_it(gateway, tmp_path, new, root, to)
        finally:
            gateway.kill_everything()


async def through_it(gateway: Gateway, tmp_path: Path, new: Path, root: Path, to) -> None:
    path = root / "tests" / "data" / "mail" / "german" / "wrapped-00.eml"
    *entries, begun = entries_from([*real_messages(root, 300), path], RECIPIENTS)
    begun.recipients = ("user0@trial.example",)
    ledger = Ledger(host="127.0.0.1", port=gateway.smtp_port, entries=entries, pause_s=0.06)
    port = to.port
    await to.stop()  # the old release's keeper has a queue to leave behind
    running = asyncio.create_task(ledger.run())
    while ledger.sent < 40:
        await asyncio.sleep(0.02)
    await to.start(port)
    assert await in_thread(version_of, gateway) == "8.0.0"
    assert gateway.process is not None
    async with RawClient("127.0.0.1", gateway.smtp_port) as client:
        await within_data(client, begun.content)
        install(new, tmp_path / "current")
        ledger.pause_s = 0.4  # the load shall last for as long as a busy machine needs
        gateway.process.send_signal(signal.SIGHUP)
        await in_thread(wait_until, lambda: '"reloaded"' in gateway.log.read_text(), "the reload")
        await client.send(b".\r\n")  # its worker drains: what it had begun it finishes
        assert (await client.reply()).startswith("250")
        begun.answers.append(250)
    await in_thread(wait_until, lambda: version_of(gateway) == "9.0.0", "the new release's page")
    await in_thread(wait_until, lambda: has_column(gateway), "the new release's index")
    assert ledger.sent < 250, "the reload was not under load"
    ledger.pause_s = 0.06
    assert await in_thread(gateway.stop) == 0
    await in_thread(gateway.start)  # and now the supervisor is the new release's too
    await running
    counts = await account(gateway, [*entries, begun], to)
    assert counts["messages"] == 301
