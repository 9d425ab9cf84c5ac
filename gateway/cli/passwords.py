"""A new password: asked for twice at a terminal, else one line of standard input."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def password_option(command: F) -> F:
    """Add ``--password``; without it the password is asked for or read."""
    return click.option(
        "--password",
        callback=_given,
        help="Better left out: it is asked for, or read from standard input (one line).",
    )(command)


def _given(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if value is None and sys.stdin.isatty():
        value = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    elif value is None:
        value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise click.BadParameter(
            "none was given; type one, or send one line to standard input", context, parameter
        )
    return value
