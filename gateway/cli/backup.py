"""``schwamm backup`` and ``schwamm restore``: all of the state in one file, and back."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from gateway.cli.context import language, own_config_option, progress_bar
from gateway.core.clock import SystemClock
from gateway.core.errors import ConfigError, GatewayError
from gateway.locale import N_, translator
from gateway.settings import Settings, find_config
from gateway.store.backup import BackupError, Progress, back_up, removal_lock
from gateway.store.lock import WriterLock
from gateway.store.ownership import entry_of, hand_over
from gateway.store.restore import is_empty, verify
from gateway.store.restore import restore as put_in_place

_WAIT_FOR_KEEPER_S = 60.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@own_config_option
def backup(settings: Settings, file: Path) -> None:
    """Write all of the state into a new FILE while the gateway runs.

    It holds people's mail, password digests and keys: keep it as safe as the gateway itself.
    """
    _ = translator(language(settings))
    state = settings.paths.state
    if not state.is_dir():
        raise ConfigError(N_("{path} does not exist; there is nothing to back up"), path=state)
    about: dict[str, object] = {
        "schwamm": version("schwamm"),
        "node": settings.node.name,
        "created_at_ms": SystemClock().now_ms(),
    }
    with _nothing_removed(settings), _shown(_("Backup")) as tell:
        written = back_up(state, file, about=about, config=_config(), tell=tell)
    click.echo(
        _("{files} files, {size} MB, are in {file}.").format(
            files=written.files, size=round(written.size_bytes / 1e6, 1), file=file
        )
    )
    if settings.index.url:
        click.echo(_("The database is not in it; back it up with: pg_dump"), err=True)
    if settings.model.directory is not None:
        click.echo(_("The models lie elsewhere and are not in it."), err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--force", is_flag=True, help="Also where there is something: it is moved aside.")
@own_config_option
def restore(settings: Settings, file: Path, force: bool) -> None:
    """Put a backup in place of the state; the gateway must not run. The queue starts on hold."""
    _ = translator(language(settings))
    state = settings.paths.state
    if not force and not is_empty(state):
        raise GatewayError(
            N_(
                "{path} is not empty; with --force what is there is moved aside, into a "
                "directory beside what is restored"
            ),
            path=state,
        )
    with _shown(_("Checking")) as tell:
        checked = verify(file, tell=tell)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with _nobody_else(state), _shown(_("Restoring")) as tell:
        aside = put_in_place(file, checked, state, stamp=stamp, tell=tell)
        _give_to(settings.node.user, state)
    click.echo(_("{files} files restored.").format(files=len(checked.names)))
    if aside.exists():
        click.echo(_("What was there before is in {path}.").format(path=aside))
    click.echo(
        _(
            "The queue is on hold, so that nothing goes out twice; look at it with: {command}"
        ).format(command="schwamm queue list")
    )
    click.echo(_("Let it go with: {command}").format(command="schwamm queue resume"))


def _config() -> Path | None:
    given = click.get_current_context().params.get("config")
    try:
        return find_config(given)
    except ConfigError:
        return None


@contextlib.contextmanager
def _nothing_removed(settings: Settings) -> Iterator[None]:
    """Keep records from being removed: a backup reads them before and after the journals."""
    state = settings.paths.state
    end = time.monotonic() + _WAIT_FOR_KEEPER_S
    while (lock := removal_lock(state)) is None:
        if time.monotonic() > end:
            raise BackupError(N_("another backup runs; try again when it is done"))
        time.sleep(0.2)
    with lock:
        _give_to(settings.node.user, state / "run")  # the keeper takes this lock too
        yield


@contextlib.contextmanager
def _nobody_else(state: Path) -> Iterator[None]:
    """Neither supervisor, nor keeper, nor what a killed supervisor left behind."""
    (state / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        keeper = WriterLock.try_acquire(state / "index.lock")
        if keeper is None:
            raise _running(state)
        closing.enter_context(keeper)
        for name in ("lock", "family"):
            file = closing.enter_context((state / "run" / name).open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _running(state) from None
        yield


def _running(state: Path) -> GatewayError:
    return GatewayError(N_("a gateway runs on {path}; stop it first, then restore"), path=state)


def _give_to(user: str, state: Path) -> None:
    """Root restores for the user that serves."""
    if os.geteuid() != 0 or not user:
        return
    hand_over(state, entry_of(user))


@contextlib.contextmanager
def _shown(what: str) -> Iterator[Progress]:
    """A bar for whoever sits at the terminal."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tell
