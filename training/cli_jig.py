"""``schwamm jig``: a judge on standard input and output."""

from __future__ import annotations

import sys

import click

from training.cli_language import spoken
from training.evaluate_filters import UnusableFilterError, open_filter
from training.jig import Jig


def run_jig(*, scorer: str, model: str | None, pipeline: object) -> None:
    """Serve a judge on standard input and output until it says ``finalize``."""
    try:
        tested = open_filter(scorer, model, pipeline, spoken(), learning=True)
    except UnusableFilterError as error:
        raise click.ClickException(str(error)) from error
    Jig(
        tested.scorer,
        learn=tested.learn,
        answer=lambda line: print(line, flush=True),  # noqa: T201  # the answer itself
        complain=lambda text: click.echo(text, err=True),
        threshold=tested.threshold,
    ).run(sys.stdin.buffer)
