"""``schwamm serve``: the supervisor with all roles, or one role by itself."""

import fcntl
import os
from pathlib import Path

import click

from gateway.cli.context import language, shown_path
from gateway.core.errors import ConfigError, InstanceRunningError
from gateway.locale import N_, translator
from gateway.settings import Settings, find_config, load


@click.command()
@click.option("--role", type=click.Choice(["smtp", "web", "keeper"]), help="Run only this role.")
@click.option("--workers", type=click.IntRange(1, 64), help="SMTP workers; default: one per core.")
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file.")
def serve(role: str | None, workers: int | None, config: Path | None) -> None:
    """Run the gateway until SIGTERM; SIGHUP loads the configuration anew."""
    if workers is not None:
        os.environ["SCHWAMM_SMTP__WORKERS"] = str(workers)
    path = find_config(config).resolve()
    settings = load(path)
    if role is not None:
        from gateway.app.roles import run_role  # noqa: PLC0415  each role imports only its rooms

        run_role(role, settings, path)
        return
    raise SystemExit(_supervise(path, settings))


def _supervise(path: Path, settings: Settings) -> int:
    from gateway.supervisor import Supervisor  # noqa: PLC0415
    from gateway.telemetry.logs import configure  # noqa: PLC0415
    from gateway.telemetry.slots import Slots  # noqa: PLC0415

    configure(settings.log, role="supervisor")
    state = _state_directory(settings)
    with (state / "run" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InstanceRunningError(
                N_(
                    "another Schwamm runs on {path}; stop it first, or give this one its own "
                    "state directory (paths.state)"
                ),
                path=state,
            ) from error
        supervisor = Supervisor(
            config=path,
            settings=settings,
            reload=lambda: load(path),
            slots=Slots.open(state / "run" / "slots"),
            announce=_announce,
        )
        return supervisor.run()


def _state_directory(settings: Settings) -> Path:
    state = settings.paths.state
    try:
        for name in ("run", "tmp", "records", "journal", "generations"):
            (state / name).mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        if not os.access(state, os.W_OK):
            raise PermissionError(f"no permission to write to {state}")
    except OSError as error:
        raise ConfigError(
            N_("state directory {path} cannot be used: {error}"), path=state, error=error
        ) from error
    if not (state / "generations" / "current").exists():
        raise ConfigError(
            N_("{path} was never set up; run: schwamm init DIR --domain D --next-hop H"),
            path=state,
        )
    return state


def _announce(settings: Settings) -> None:
    """Tell a person at a terminal where things are and what to try next."""
    _ = translator(language(settings))
    smtp = f"{settings.smtp.host}:{settings.smtp.port}"
    web = f"http://{settings.web.host}:{settings.web.port}/"
    lines = [
        "",
        _("Schwamm is running."),
        _("  Mail comes in at    {address} (SMTP)").format(address=smtp),
        _("  Status page         {url}").format(url=web),
        _("  State lies in       {path}").format(path=shown_path(settings.paths.state)),
    ]
    if settings.trial.dns_port:
        maildir = settings.paths.state / "trial-maildir"
        lines += [
            _("  Clean mail lands in {path}").format(path=shown_path(maildir / "new")),
            _("Try it in another terminal:  {command}").format(
                command=".venv/bin/schwamm samples send"
            ),
        ]
    lines += [_("Stop with Ctrl+C."), ""]
    click.echo("\n".join(lines), err=False)
