"""The command line. Commands are loaded when they are called: a worker starts through here too.

Exit codes are a contract (architecture, section 8): 0 success, 1 failed check, 2 bad usage.
"""

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points

import click

from gateway.core.errors import ConfigError, GatewayError

_COMMANDS = {  # name -> module of gateway.cli and attribute in it
    "init": "init:init",
    "serve": "serve:serve",
    "samples": "samples:samples",
    "scan": "scan:scan",
    "quarantine": "quarantine:quarantine",
    "queue": "queue:queue",
    "track": "tracking:track",
    "reindex": "tracking:reindex",
    "domain": "domains:domain",
    "customer": "domains:customer",
    "user": "domains:user",
    "doctor": "doctor:doctor",
    "backup": "backup:backup",
    "restore": "backup:restore",
}
_TRAINING = "schwamm.commands"


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*_COMMANDS, *_training_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return _training_commands().get(cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"gateway.cli.{module}"), attribute
        )
        return command


def _training_commands() -> dict[str, click.Command]:
    """Commands that other packages add; training is one, and the gateway does not import it."""
    found: dict[str, click.Command] = {}
    for entry in entry_points(group=_TRAINING):
        for command in entry.load()():
            found[command.name] = command
    return found


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="schwamm")
@click.option(
    "--language", type=click.Choice(["de", "en"]), help="Language of what is printed for people."
)
@click.pass_context
def schwamm(ctx: click.Context, language: str | None) -> None:
    """Schwamm absorbs spam in front of your mail servers and explains what it did."""
    shared = ctx.ensure_object(dict)
    shared["language"] = language
    shared["pipeline_scorer"] = _pipeline_scorer


def _pipeline_scorer(models: object = None) -> object:
    """What ``evaluate --scorer pipeline`` needs of the gateway, which training may not import."""
    return importlib.import_module("gateway.cli.scan").pipeline_scorer(models)


def _complain(error: GatewayError, shared: Mapping[str, object]) -> None:
    # What commands share takes 50 ms to import: --help does not wait for it.
    importlib.import_module("gateway.cli.context").complain(error, None, shared.get("language"))


def main() -> None:
    """Run a command; what goes wrong is one line that says what to do next."""
    shared: dict[str, object] = {}
    try:
        code = schwamm.main(standalone_mode=False, obj=shared)
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.Abort:
        code = 130
    except click.UsageError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        click.echo(f"schwamm: {error.format_message()}", err=True)
        code = error.exit_code
    except ConfigError as error:
        _complain(error, shared)
        code = 2
    except GatewayError as error:
        _complain(error, shared)
        code = 1
    except BrokenPipeError:
        code = 141
    except UnicodeEncodeError:
        click.echo(
            "schwamm: an argument is not valid UTF-8; check the terminal's encoding", err=True
        )
        code = 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"schwamm: {where}{error.strerror or error}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
