"""What commands share: configuration, language, tables for people and lines for machines."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.core.errors import GatewayError
from gateway.locale.errors import error_text
from gateway.settings import Settings, find_config, load
from gateway.store.ownership import settings_of_service

if TYPE_CHECKING:
    from rich.progress import Progress

_LONGEST_CELL = 70  # characters; a hostile subject must not fill the screen
_PIPE_WIDTH = 220  # columns where no terminal says how many there are

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add ``--config`` and pass the loaded settings; root acts as ``node.user`` from here on."""
    return _with_settings(command, settings_of_service)


def own_config_option(command: F) -> F:
    """Add ``--config`` for a command that stays who started it: it reaches outside the state."""
    return _with_settings(command, lambda config: load(find_config(config)))


def _with_settings(command: F, loaded: Callable[[Path | None], Settings]) -> F:
    @click.option("--config", type=click.Path(path_type=Path), help="The configuration file.")
    @functools.wraps(command)
    def with_settings(*args: Any, config: Path | None, **kwargs: Any) -> Any:
        return command(*args, settings=loaded(config), **kwargs)

    return with_settings  # type: ignore[return-value]  # click decorators keep the signature


def json_option(command: F) -> F:
    """Add ``--json``: one object a line."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def language(settings: Settings | None = None, chosen: str | None = None) -> str:
    """The reader's language: ``chosen`` or ``--language``, else the terminal's, else the node's."""
    context = click.get_current_context(silent=True)
    if context is not None:
        chosen = chosen or (context.find_root().obj or {}).get("language")
    if chosen:
        return chosen
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        code = os.environ.get(variable, "")[:2].lower()
        if code in {"de", "en"}:
            return code
    return settings.node.language if settings else "en"


def complain(
    error: GatewayError, settings: Settings | None = None, chosen: str | None = None
) -> None:
    """Say on standard error what went wrong and what to do next."""
    click.echo(f"schwamm: {printable(error_text(error, language(settings, chosen)))}", err=True)


def print_rows(
    rows: Iterable[Mapping[str, object]],
    *,
    as_json: bool,
    columns: Sequence[tuple[str, str]],
    empty: str,
    words: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Print a listing: JSON lines as they are, or the ``(key, heading)`` columns as a table.

    ``words`` has, by key, what people read for the codes in that column.
    """
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    # rich takes 60 ms to import: only people wait for it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for key, heading in columns:
        # An id is copied from here: never on two lines.
        table.add_column(heading, overflow="fold", no_wrap=key == "id")
    count = 0
    for row in rows:
        count += 1
        cells = (words.get(key, {}).get(str(row.get(key)), row.get(key)) for key, _ in columns)
        table.add_row(*(Text(_cell(cell)) for cell in cells))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(table if count else empty)


def shown_path(path: Path) -> Path:
    """A path as a person would type it: from here, where it lies below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def progress_bar() -> "Progress":
    """Bars on standard error for whoever sits at the terminal; nothing elsewhere."""
    from rich.console import Console  # noqa: PLC0415  60 ms
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(file=sys.stderr)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _cell(value: object) -> str:
    text = printable(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def printable(value: object) -> str:
    """Text that cannot steer a terminal: control characters of hostile mail are shown as ``?``."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    return "".join(c if c.isprintable() else "?" for c in str(value))
